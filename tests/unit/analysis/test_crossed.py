"""Means over crossed seeds and questions: against the mean squares of a two-way layout, and against simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from interval_coverage import SETTINGS, coverage
from scipy import stats

from sbr.analysis.crossed import Answers
from sbr.eval.stats import FEWEST, clustered_difference, wilson_interval


def answers(seeds: int = 5, questions: int = 60, generator: int = 1) -> np.ndarray:
    """Two arms of `seeds` seeds each, the same questions; seeds and questions differ."""
    rng = np.random.default_rng(generator)
    ease_Q = rng.normal(size=questions)
    seed_R1 = 0.4 * rng.normal(size=(2 * seeds, 1))
    gain_R1 = np.repeat([0.0, 0.4], seeds)[:, None]
    return (0.3 + gain_R1 + seed_R1 + ease_Q + 0.5 * rng.normal(size=(2 * seeds, questions)) > 0).astype(float)


def mean_squares(values_SQ: np.ndarray) -> tuple[float, float, float]:
    """Of seeds, of questions and of the rest, cell by cell as in a textbook's two-way analysis of variance."""
    seeds, questions = values_SQ.shape
    mean = sum(values_SQ[s, q] for s in range(seeds) for q in range(questions)) / (seeds * questions)
    of_seed = [sum(values_SQ[s, q] for q in range(questions)) / questions for s in range(seeds)]
    of_question = [sum(values_SQ[s, q] for s in range(seeds)) / seeds for q in range(questions)]
    rest = sum(
        (values_SQ[s, q] - of_seed[s] - of_question[q] + mean) ** 2 for s in range(seeds) for q in range(questions)
    )
    return (
        questions * sum((value - mean) ** 2 for value in of_seed) / (seeds - 1),
        seeds * sum((value - mean) ** 2 for value in of_question) / (questions - 1),
        rest / ((seeds - 1) * (questions - 1)),
    )


def test_one_question_a_cluster_is_the_two_way_layout() -> None:
    """Hillis 2007: V = (MS_seeds + max(MS_questions - MS_rest, 0)) / (S Q), for the difference of two arms."""
    values_RQ = answers()
    found = Answers(values_RQ, np.arange(60)).difference([[(s, 5 + s) for s in range(5)]])
    of_seeds, of_questions, rest = mean_squares(values_RQ[5:] - values_RQ[:5])
    assert of_seeds > rest
    variance = (of_seeds + max(of_questions - rest, 0)) / 300
    df = variance**2 / ((of_seeds / 300) ** 2 / 4 + (max(of_questions - rest, 0) / 300) ** 2 / 59)
    mean = values_RQ[5:].mean() - values_RQ[:5].mean()
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.df == pytest.approx(df, rel=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / math.sqrt(variance), df), rel=1e-9)
    assert found.interval is not None
    assert found.interval.high - mean == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(variance), rel=1e-9)


def test_seeds_that_agree_by_chance_vary_as_much_as_the_rest_says() -> None:
    values_SQ = np.array([[1, 0] * 20, [0, 1] * 20], dtype=float)
    found = Answers(values_SQ, np.arange(40)).accuracy([range(2)])
    _, _, rest = mean_squares(values_SQ)
    assert found.error == pytest.approx(math.sqrt(rest / 80), rel=1e-9) and found.df == pytest.approx(39)


def test_without_questions_that_matter_it_is_the_t_test_over_seeds() -> None:
    """Every question has the same share of right answers in a seed, so seeds are all there is."""
    shares_S = np.array([0.5, 0.55, 0.62, 0.48])
    found = Answers(np.tile(shares_S[:, None], 40), np.arange(40) // 2).difference([[(0, 1), (0, 2), (0, 3)]])
    expected = stats.ttest_1samp(shares_S[1:] - 0.5, 0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.df == pytest.approx(2, rel=1e-6)


def test_one_seed_is_the_ordinary_test_over_clusters() -> None:
    values_RQ, cluster_Q = answers(1), np.arange(60) // 2
    found = Answers(values_RQ, cluster_Q, resamples=4000).difference([[(0, 1)]])
    sums_C = np.bincount(cluster_Q, weights=values_RQ[1] - values_RQ[0]) / 2
    expected = stats.ttest_1samp(sums_C, 0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.seeds_variance == 0 and found.df == pytest.approx(29)
    resampled = clustered_difference(list(values_RQ[0]), list(values_RQ[1]), [str(c) for c in cluster_Q])
    assert found.bootstrap is not None
    assert found.bootstrap.low == pytest.approx(resampled.interval.low, abs=0.02)
    assert found.bootstrap.high == pytest.approx(resampled.interval.high, abs=0.02)


def test_the_mean_of_two_bases_has_the_seeds_of_both() -> None:
    """Seeds of different bases are independent, questions are the same."""
    values_RQ = answers(6)
    study = Answers(values_RQ, np.arange(60))
    one, two = study.accuracy([range(6)]), study.accuracy([range(6, 12)])
    both = study.accuracy([range(6), range(6, 12)])
    assert both.mean == pytest.approx((one.mean + two.mean) / 2, abs=1e-12)
    assert both.seeds_variance == pytest.approx((one.seeds_variance + two.seeds_variance) / 4, rel=1e-9)
    rest = [mean_squares(values_RQ[part])[2] / (6 * 60) for part in (slice(0, 6), slice(6, 12))]
    over_questions = values_RQ.reshape(2, 6, 60).mean((0, 1))
    expected = over_questions.var(ddof=1) / 60 - sum(rest) / 4
    assert both.questions_variance == pytest.approx(expected, rel=1e-9)


def test_the_bootstrap_is_too_small_in_seeds_and_three_times_too_large_in_the_rest() -> None:
    """McCullagh 2000, Owen 2007: of seeds (1 - 1/S), of the rest 3 - 2/S, times what it should be; Q is large."""
    rng = np.random.default_rng(0)
    seeds, questions = 5, 400
    only_seeds = np.tile(rng.normal(0.5, 0.1, (seeds, 1)), questions)
    only_rest = rng.normal(0.5, 0.1, (seeds, questions))
    for values_SQ, factor, tolerance in ((only_seeds, 1 - 1 / seeds, 0.06), (only_rest, 3 - 2 / seeds, 0.35)):
        found = Answers(values_SQ, np.arange(questions), resamples=20_000).accuracy([range(seeds)])
        true = values_SQ.mean(1).var(ddof=1) / seeds if factor < 1 else 0.01 / values_SQ.size
        assert found.bootstrap is not None
        spread = (found.bootstrap.high - found.bootstrap.low) / (2 * 1.96)
        assert spread**2 / true == pytest.approx(factor, rel=tolerance)


@pytest.mark.parametrize("name", SETTINGS)
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """95 % of 400 simulated studies of 5 seeds; three standard errors of that share are 3.3 points."""
    spread, gain = SETTINGS[name]
    found = coverage(spread, gain, seeds=5, studies=400, resamples=200)
    assert found.interval == pytest.approx(0.95, abs=0.033)
    if gain == 0:
        assert found.significant == pytest.approx(0.05, abs=0.033)
    if name == "accuracy, seeds differ much":  # what the bootstrap lacks with few seeds
        assert found.bootstrap < 0.92
    if name == "difference, seeds do not matter":  # and where it is too wide
        assert found.bootstrap > 0.98 and found.bootstrap_width > 1.2 * found.width


def test_nothing_varies() -> None:
    right = Answers(np.ones((3, 40)), np.arange(40))
    accuracy = right.accuracy([range(3)])
    assert (accuracy.mean, accuracy.df, accuracy.interval) == (1.0, None, wilson_interval(40, 40))
    same = right.difference([[(0, 1), (1, 2)]])
    assert (same.mean, same.interval, same.p_value) == (0.0, None, 1.0)
    worlds = Answers(np.stack([np.ones(40), np.zeros(40)]), np.arange(40)).difference([[(0, 1)]])
    assert (worlds.mean, worlds.interval, worlds.p_value) == (-1.0, None, None)


def test_few_clusters_have_no_interval() -> None:
    values_RQ = answers()
    few = Answers(values_RQ, np.arange(60) % (FEWEST - 1)).difference([[(0, 5), (1, 6)]])
    assert few.interval is None and few.bootstrap is None and few.p_value is None and few.error > 0
    enough = Answers(values_RQ, np.arange(60) % FEWEST).difference([[(0, 5), (1, 6)]])
    assert enough.interval is not None and enough.bootstrap is not None


def test_accuracies_stay_between_0_and_1() -> None:
    values_RQ = np.ones((5, 60))
    values_RQ[0, :3] = 0
    found = Answers(values_RQ, np.arange(60)).accuracy([range(5)])
    assert found.interval is not None
    assert 0 < found.interval.low < found.mean < found.interval.high <= 1
