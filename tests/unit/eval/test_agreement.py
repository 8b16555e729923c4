"""Cohen's kappa against published values, against scikit-learn's formula, and its interval against brute force."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.eval.agreement import cohen_kappa


def expanded(table) -> tuple[list[int], list[int]]:
    """Two sequences of verdicts with this table of counts."""
    cells = [(i, j) for (i, j), count in np.ndenumerate(np.asarray(table)) for _ in range(count)]
    return [i for i, _ in cells], [j for _, j in cells]


def kappa(one, two, **settings):
    return cohen_kappa(one, two, range(len(one)), **settings)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Cohen 1960, table 1 (proportions of 200): agreement .70, by chance .41
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.492),
        # Fleiss, Statistical Methods for Rates and Proportions, two raters of 100 subjects: .89, by chance .66
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], 0.676),
        ([[20, 5], [10, 15]], 0.40),
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[50, 0], [0, 50]], 1.0),
        ([[0, 50], [50, 0]], -1.0),
        ([[25, 25], [25, 25]], 0.0),
    ],
)
def test_worked_examples(table, expected):
    found = kappa(*expanded(table))
    assert found.value == pytest.approx(expected, abs=5e-4)
    assert found.agreement == pytest.approx(np.trace(table) / np.sum(table))
    assert found.answers == found.clusters == np.sum(table)


@pytest.mark.parametrize(
    ("one", "two", "expected"),  # the examples of scikit-learn's documentation of cohen_kappa_score
    [
        ("npnup", "npnun", 0.6875),
        ([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2], 0.4285714285714286),
    ],
)
def test_examples_of_scikit_learn(one, two, expected):
    assert kappa(one, two).value == pytest.approx(expected, abs=1e-12)


def of_scikit_learn(one, two) -> float:
    """1 - sum(w * confusion) / sum(w * expected), w = 1 off the diagonal: how sklearn.metrics computes it."""
    labels = sorted({*one, *two})
    confusion = np.array(
        [[sum(a == i and b == j for a, b in zip(one, two, strict=True)) for j in labels] for i in labels]
    )
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    weights = 1 - np.eye(len(labels))
    return 1 - (weights * confusion).sum() / (weights * expected).sum()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_equals_the_formula_of_scikit_learn(pairs):
    one, two = [a for a, _ in pairs], [b for _, b in pairs]
    found = kappa(one, two, resamples=10).value
    if len(set(one)) < 2 or len(set(two)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(of_scikit_learn(one, two), abs=1e-12)


@pytest.mark.parametrize("two", [[True] * 12, [True, False] * 6])
def test_a_way_that_says_one_thing_agrees_with_nothing(two):
    for found in (kappa([True] * 12, two), kappa(two, [True] * 12)):
        assert (found.value, found.interval) == (None, None)
        assert found.agreement == sum(two) / 12


def test_nothing_to_compare():
    found = cohen_kappa([], [], [])
    assert (found.value, found.interval, found.agreement, found.answers) == (None, None, None, 0)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="got 1, 2 and 1 values"):
        cohen_kappa([1], [1, 0], ["a"])


def test_the_interval_is_that_of_all_resamples():
    """Ten clusters of two tables: every resample is one of eleven, with binomial probabilities."""
    kinds = {"agree": [(1, 1), (0, 0)], "differ": [(1, 0), (1, 1), (0, 0)]}
    clusters = ["agree"] * 4 + ["differ"] * 6
    rows = [(one, two, f"{name}{number}") for number, name in enumerate(clusters) for one, two in kinds[name]]
    found = cohen_kappa(*zip(*rows, strict=True), resamples=200_000)
    values, weights = [], []
    for drawn in range(11):
        pairs = kinds["agree"] * drawn + kinds["differ"] * (10 - drawn)
        values.append(of_scikit_learn([a for a, _ in pairs], [b for _, b in pairs]))
        weights.append(math.comb(10, drawn) * 0.4**drawn * 0.6 ** (10 - drawn))
    cumulative = np.cumsum(weights)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(values[int(np.searchsorted(cumulative, 0.025))], abs=1e-12)
    assert found.interval.high == pytest.approx(values[int(np.searchsorted(cumulative, 0.975))], abs=1e-12)


def test_answers_of_one_cluster_count_together():
    one, two = expanded([[20, 5], [10, 15]])
    alone = kappa(one * 4, two * 4)
    whole = cohen_kappa(one * 4, two * 4, [*range(len(one))] * 4)
    assert alone.value == whole.value
    assert alone.interval is not None
    assert whole.interval is not None
    ratio = (whole.interval.high - whole.interval.low) / (alone.interval.high - alone.interval.low)
    assert ratio == pytest.approx(2, abs=0.15)  # a quarter of the observations


def test_few_clusters_and_resamples_without_a_value_give_no_interval():
    one, two = expanded([[3, 1], [1, 4]])
    assert kappa(one, two).interval is None
    assert kappa(*expanded([[4, 1], [1, 4]])).interval is not None
    rare = kappa(*expanded([[30, 0], [0, 1]]))  # in 37 % of all resamples the one is not drawn
    assert (rare.value, rare.interval) == (1.0, None)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    truth = {pair: p for pair, p in zip(product((0, 1), (0, 1)), (0.35, 0.15, 0.1, 0.4), strict=True)}
    agree, chance = 0.75, 0.5 * 0.45 + 0.5 * 0.55
    expected = (agree - chance) / (1 - chance)
    held = 0
    for seed in range(300):
        drawn = generator.choice(4, size=120, p=list(truth.values()))
        pairs = [list(truth)[number] for number in drawn]
        found = kappa([a for a, _ in pairs], [b for _, b in pairs], resamples=500, seed=seed).interval
        assert found is not None
        held += found.low <= expected <= found.high
    assert held / 300 == pytest.approx(0.95, abs=0.03)
