"""Intervals and tests against scipy, against published worked examples, and against their own coverage."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sbr.eval.stats import (
    clustered_difference,
    clustered_wilson_interval,
    difference_interval,
    holm,
    mcnemar_exact,
    mean_and_sd,
    most_discordant_pairs,
    paired_difference,
    paired_interval,
    wilson_interval,
)


def rounded(interval, digits=4):
    return round(interval.low, digits), round(interval.high, digits)


def test_wilson_of_the_papers_grpo_result_on_l1():
    assert round(100 * 1119 / 2432, 2) == 46.01
    assert rounded(wilson_interval(1119, 2432)) == (0.4404, 0.4800)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),  # Newcombe 1998, Statist. Med. 17, 857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_of_newcombes_examples(correct, n, low, high):
    assert rounded(wilson_interval(correct, n)) == (low, high)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(pair):
    correct, n = pair
    expected = scipy_stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(correct, n)
    assert interval.low == pytest.approx(expected.low, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= interval.low <= correct / n <= interval.high <= 1


@pytest.mark.parametrize(("correct", "n"), [(1, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        wilson_interval(correct, n)


@pytest.mark.parametrize(
    ("counts", "low", "high"),  # Newcombe 1998, Statist. Med. 17, 873-890, table II, method 10
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((10, 10, 0, 20), 0.6791, 1.0)],
)
def test_independent_difference_of_newcombes_examples(counts, low, high):
    assert rounded(difference_interval(*counts)) == (low, high)


def test_paired_difference_of_a_published_table():
    # Cavo et al. 2012 in Fagerland, Lydersen, Laake, "Statistical Analysis of Contingency Tables", chapter 8.
    assert rounded(paired_interval(59, 6, 16, 80)) == (-0.1186, -0.0046)


def test_paired_interval_with_a_small_positive_correlation_is_the_independent_one():
    # 1 * 12 - 1 * 7 = 5 is less than n / 2 = 10.5: the corrected correlation is 0.
    assert rounded(paired_interval(1, 1, 7, 12), 12) == rounded(difference_interval(2, 21, 8, 21), 12)


def test_paired_interval_with_a_negative_correlation_by_hand():
    # n = 45, p1 = 20/45, p2 = 25/45, phi = (5 * 5 - 15 * 20) / sqrt(20 * 25 * 25 * 20) = -275 / 500; no correction.
    one, two, phi = wilson_interval(20, 45), wilson_interval(25, 45), -0.55
    a, b = 20 / 45 - one.low, two.high - 25 / 45
    low = -5 / 45 - math.sqrt(a * a + b * b - 2 * phi * a * b)
    interval = paired_interval(5, 15, 20, 5)
    assert interval.low == pytest.approx(low)
    assert interval.low < difference_interval(20, 45, 25, 45).low


def test_paired_interval_without_correlation_is_the_independent_one():
    # 25 * 25 - 25 * 25 = 0: no correlation.
    assert rounded(paired_interval(25, 25, 25, 25), 12) == rounded(difference_interval(50, 100, 50, 100), 12)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipys_binomial_test(only_1, only_2):
    n = only_1 + only_2
    expected = scipy_stats.binomtest(only_1, n, 0.5).pvalue if n else 1.0
    assert mcnemar_exact(only_1, only_2) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand():
    # 1 against 5: 2 * (C(6,0) + C(6,1)) / 2**6
    assert mcnemar_exact(1, 5) == pytest.approx(2 * 7 / 64)


def test_paired_difference_of_binary_answers():
    base = [1.0] * 30 + [1.0] * 10 + [0.0] * 20 + [0.0] * 40
    other = [1.0] * 30 + [0.0] * 10 + [1.0] * 20 + [0.0] * 40
    result = paired_difference(base, other)
    assert result.difference == pytest.approx(0.10)
    assert (result.only_base, result.only_other) == (10, 20)
    assert result.p_value == pytest.approx(scipy_stats.binomtest(10, 30).pvalue)
    assert result.interval == paired_interval(30, 20, 10, 40)
    assert result.interval is not None
    assert result.interval.low < 0 < result.interval.high


def test_paired_difference_of_shares_is_a_normal_interval_over_questions():
    base, other = [0.25, 0.5, 1.0, 0.0] * 4, [0.5, 0.5, 0.75, 1.0] * 4
    differences = [0.25, 0.0, -0.25, 1.0] * 4
    error = np.std(differences, ddof=1) / 4
    result = paired_difference(base, other)
    assert result.p_value is None
    assert result.difference == pytest.approx(0.25)
    assert result.interval is not None
    assert result.interval.low == pytest.approx(0.25 - scipy_stats.norm.ppf(0.975) * error)
    assert result.interval.high == pytest.approx(0.25 + scipy_stats.norm.ppf(0.975) * error)
    assert (result.only_base, result.only_other) == (1.0, 5.0)
    assert paired_difference(base[:9], other[:9]).interval is None, "the spread of nine is no figure to rely on"


def test_paired_difference_changes_sign_with_its_arguments():
    base, other = [1, 0, 1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 1, 1, 1, 0]
    there, back = paired_difference(base, other), paired_difference(other, base)
    assert there.difference == -back.difference
    assert there.interval is not None and back.interval is not None
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert there.p_value == back.p_value


@pytest.mark.parametrize(("base", "other"), [([], []), ([1.0], [1.0, 0.0])])
def test_paired_difference_refuses_unequal_or_empty(base, other):
    with pytest.raises(ValueError, match="equally long"):
        paired_difference(base, other)


def test_clustered_interval_with_one_sample_is_wilson():
    values = [1.0] * 37 + [0.0] * 63
    assert rounded(clustered_wilson_interval(values, 1), 12) == rounded(wilson_interval(37, 100), 12)


def test_clustered_interval_lies_between_question_count_and_sample_count():
    generator = np.random.default_rng(0)
    samples = 8
    skill = generator.uniform(0, 1, 200)  # questions differ: samples of one question are alike
    share = generator.binomial(samples, skill) / samples
    width = np.ptp(rounded(clustered_wilson_interval(list(share), samples), 12))
    correct = share.sum()
    assert np.ptp(rounded(wilson_interval(correct * samples, 200 * samples), 12)) < width
    assert width < np.ptp(rounded(wilson_interval(correct, 200), 12))


def test_clustered_interval_covers_the_truth_where_the_naive_one_does_not():
    generator = np.random.default_rng(1)
    samples, questions, runs = 8, 100, 400
    covered = naive = 0
    for _ in range(runs):
        skill = generator.beta(0.5, 0.5, questions)  # mean 0.5
        share = generator.binomial(samples, skill) / samples
        interval = clustered_wilson_interval(list(share), samples)
        covered += interval.low <= 0.5 <= interval.high
        simple = wilson_interval(share.sum() * samples, questions * samples)
        naive += simple.low <= 0.5 <= simple.high
    assert 0.92 <= covered / runs <= 0.98
    assert naive / runs < 0.75


def test_clustered_interval_of_all_right_is_wilson_of_the_questions():
    assert clustered_wilson_interval([1.0] * 50, 8) == wilson_interval(50, 50)


def test_mean_and_sd_over_seeds():
    # By hand: deviations -2, 0, 2, variance (4 + 0 + 4) / 2.
    result = mean_and_sd([70.0, 72.0, 74.0])
    assert (result.mean, result.sd, result.n) == (72.0, 2.0, 3)
    assert mean_and_sd([5.0]).sd is None
    with pytest.raises(ValueError, match="no values"):
        mean_and_sd([])


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 200)] * 4).filter(lambda t: sum(t) > 0))
def test_paired_interval_is_an_interval_around_the_difference(table):
    interval = paired_interval(*table)
    difference = (table[1] - table[2]) / sum(table)
    assert -1 <= interval.low <= difference + 1e-12
    assert difference - 1e-12 <= interval.high <= 1
    assert not math.isnan(interval.low)


def answers(questions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two runs, the second better on every fifth question or so."""
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 2, questions)
    return base, np.where(generator.random(questions) < 0.2, 1, base)


def width(interval) -> float:
    return interval.high - interval.low


def test_bootstrap_of_single_questions_has_the_closed_form_width():
    # sd of a resampled mean: population sd of the differences / sqrt(n); percentiles of a normal at n = 2000.
    base, other = answers(2000)
    interval = clustered_difference(base, other, [str(i) for i in range(2000)]).interval
    error = (other - base).std() / math.sqrt(2000)
    z = scipy_stats.norm.ppf(0.975)
    assert width(interval) == pytest.approx(2 * z * error, rel=0.03)
    assert (interval.low + interval.high) / 2 == pytest.approx((other - base).mean(), abs=0.05 * error)


def test_bootstrap_of_single_questions_equals_scipys_paired_bootstrap():
    base, other = answers(300)
    mine = clustered_difference(base, other, [str(i) for i in range(300)]).interval
    theirs = scipy_stats.bootstrap(
        (base, other),
        lambda one, two, axis: two.mean(axis) - one.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    # Differences are multiples of 1/300; the ends of 10,000 resamples move by one or two of them.
    assert mine.low == pytest.approx(theirs.low, abs=2.5 / 300)
    assert mine.high == pytest.approx(theirs.high, abs=2.5 / 300)


def test_bootstrap_of_unequal_clusters_equals_scipys_bootstrap_of_their_sums():
    generator = np.random.default_rng(2)
    videos = generator.integers(0, 80, 600)
    base, other = generator.integers(0, 2, 600) * 1.0, generator.integers(0, 3, 600) / 2
    mine = clustered_difference(base, other, [f"v{video}" for video in videos]).interval
    names = np.unique(videos)
    sums = np.array([(other - base)[videos == name].sum() for name in names])
    sizes = np.array([(videos == name).sum() for name in names])
    theirs = scipy_stats.bootstrap(
        (sums, sizes),
        lambda total, size, axis: total.sum(axis) / size.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert mine.low == pytest.approx(theirs.low, abs=0.05 * width(mine))
    assert mine.high == pytest.approx(theirs.high, abs=0.05 * width(mine))


def test_questions_that_occur_twice_in_their_cluster_bring_nothing_new():
    """Every question doubled: clustered, the interval stays; as single questions it is narrower by sqrt(2)."""
    base, other = answers(1000)
    names = [str(i) for i in range(1000)]
    once = clustered_difference(base, other, names).interval
    twice = np.concatenate([base, base]), np.concatenate([other, other])
    doubled = clustered_difference(*twice, names + names)
    single = clustered_difference(*twice, [str(i) for i in range(2000)]).interval
    assert doubled.clusters == 1000
    assert width(doubled.interval) == pytest.approx(width(once), rel=1e-9)
    assert width(doubled.interval) / width(single) == pytest.approx(math.sqrt(2), rel=0.04)


def test_clustered_interval_covers_no_difference_where_single_questions_do_not():
    """40 videos of 10 questions; a video favours one of two equally good runs as a whole."""
    generator = np.random.default_rng(3)
    videos = [str(i // 10) for i in range(400)]
    covered, naive, false_alarms, runs = 0, 0, 0, 200
    for _ in range(runs):
        lean = np.repeat(generator.uniform(-0.4, 0.4, 40), 10)
        base, other = generator.random(400) < 0.5 - lean / 2, generator.random(400) < 0.5 + lean / 2
        result = clustered_difference(base, other, videos, resamples=1000)
        covered += result.interval.low <= 0 <= result.interval.high
        false_alarms += result.p_value <= 0.05
        plain = paired_difference(list(base * 1.0), list(other * 1.0)).interval
        assert plain is not None
        naive += plain.low <= 0 <= plain.high
    assert 0.89 <= covered / runs <= 0.99
    assert 0.01 <= false_alarms / runs <= 0.11
    assert naive / runs < 0.87


def test_p_value_of_the_bootstrap_by_hand():
    names = list("abcdefghij")
    # Five clusters +1, five -1: more than half of the resamples are on either side of zero or on it.
    assert clustered_difference([0, 1] * 5, [1, 0] * 5, names).p_value == 1.0
    # +1 always: no resample is 0 or below.
    always = clustered_difference([0] * 11, [1] * 11, [*names, "j"], resamples=999)
    assert always.p_value == 2 / 1000
    assert (always.interval.low, always.interval.high, always.clusters) == (1.0, 1.0, 10)
    # Two of ten clusters +1, the others 0: a resample is 0 only when none of its ten draws is one of the two.
    rare = clustered_difference([0] * 10, [1, 1, *[0] * 8], names)
    assert rare.p_value == pytest.approx(2 * 0.8**10, rel=0.1)


def test_p_value_of_the_bootstrap_is_near_mcnemars_for_single_questions():
    base = [1.0] * 400 + [0.0] * 400 + [1.0] * 60 + [0.0] * 85
    other = [1.0] * 400 + [0.0] * 400 + [0.0] * 60 + [1.0] * 85
    result = clustered_difference(base, other, [str(i) for i in range(len(base))])
    assert result.p_value == pytest.approx(mcnemar_exact(60, 85), abs=0.015)


def test_bootstrap_is_seeded_and_symmetric():
    base, other = answers(200)
    videos = [str(i // 4) for i in range(200)]
    result = clustered_difference(base, other, videos)
    assert clustered_difference(base, other, videos) == result
    few = [clustered_difference(base, other, videos, resamples=50, seed=seed).interval for seed in range(5)]
    assert len(set(few)) > 1
    back = clustered_difference(other, base, videos)
    assert (back.interval.low, back.interval.high) == pytest.approx((-result.interval.high, -result.interval.low))
    assert back.p_value == result.p_value
    order = np.random.default_rng(0).permutation(200)
    assert clustered_difference(base[order], other[order], [videos[i] for i in order]) == result


def test_bootstrap_in_blocks_is_the_one_in_one_piece(monkeypatch):
    base, other = answers(100)
    videos = [str(i // 2) for i in range(100)]
    whole = clustered_difference(base, other, videos)
    monkeypatch.setattr("sbr.eval.stats._DRAWS_AT_ONCE", 1111)
    assert clustered_difference(base, other, videos) == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0], ["a"]), "at least 10 clusters"),
        (([1.0, 0.0] * 9, [1.0, 0.0] * 9, list("abcdefghi") * 2), "at least 10 clusters to resample, got 9"),
        (([1.0, 0.0], [1.0, 0.0], ["a"]), "equally long"),
        (([], [], []), "at least 10 clusters"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(arguments, message):
    with pytest.raises(ValueError, match=message):
        clustered_difference(*arguments)


@pytest.mark.parametrize(("gap", "questions"), [(54, 2432), (6, 100), (20, 60), (300, 2000)])
def test_most_discordant_pairs_against_scipy(gap, questions):
    most = most_discordant_pairs(gap, questions)
    assert most is not None

    def p(discordant: int) -> float:
        return scipy_stats.binomtest((discordant - gap) // 2, discordant).pvalue

    assert (most - gap) % 2 == 0
    assert p(most) <= 0.05
    assert most + 2 > questions or p(most + 2) > 0.05


def test_gaps_too_small_for_any_significance():
    assert most_discordant_pairs(5, 100) is None  # 5 won, 0 lost: p = 2 / 32
    assert most_discordant_pairs(0, 100) is None
    assert most_discordant_pairs(6, 6) == 6
    for gap in (-1, 101):
        with pytest.raises(ValueError, match="0 <= gap <= questions"):
            most_discordant_pairs(gap, 100)


def test_holm_is_the_closed_test_of_bonferroni():
    """By definition: the largest of |S| min(p in S) over all sets S of tests that hold this one, at most 1."""
    generator = np.random.default_rng(0)
    for count in range(1, 7):
        p_values = [float(p) for p in generator.random(count) ** 4]
        sets = [group for size in range(1, count + 1) for group in combinations(range(count), size)]
        expected = [
            max(min(1.0, len(group) * min(p_values[k] for k in group)) for group in sets if place in group)
            for place in range(count)
        ]
        assert holm(p_values) == pytest.approx(expected, rel=1e-12)


def test_holm_of_nothing_and_of_equal_p_values():
    assert holm([]) == []
    assert holm([0.02, 0.02]) == [0.04, 0.04]
