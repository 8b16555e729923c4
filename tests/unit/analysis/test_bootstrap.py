"""Many means from one drawing, against `eval.stats.clustered_difference`, which draws for each."""

from __future__ import annotations

import numpy as np
import pytest

from sbr.analysis.bootstrap import clustered_estimates
from sbr.eval.stats import FEWEST, clustered_difference

RESAMPLES = 400


def questions(count: int = 60, clusters: int = 17) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(3)
    names = [f"v{number}" for number in generator.integers(0, clusters, count)]
    return generator.normal(0.2, 1.0, (count, 3)), names


def test_every_figure_is_that_of_its_own_bootstrap() -> None:
    values_QF, clusters = questions()
    found = clustered_estimates(values_QF, clusters, RESAMPLES, seed=5)
    for figure, estimate in enumerate(found):
        expected = clustered_difference(
            np.zeros(60).tolist(), values_QF[:, figure].tolist(), clusters, RESAMPLES, seed=5
        )
        assert estimate is not None and estimate.interval is not None
        assert estimate.mean == pytest.approx(values_QF[:, figure].mean(), abs=1e-12)
        assert estimate.interval.low == pytest.approx(expected.interval.low, abs=1e-9)
        assert estimate.interval.high == pytest.approx(expected.interval.high, abs=1e-9)
        assert estimate.p_value == pytest.approx(expected.p_value)
        assert (estimate.questions, estimate.clusters) == (60, expected.clusters)


def test_questions_without_a_figure_are_left_out_of_it_alone() -> None:
    values_QF, clusters = questions()
    values_QF[::2, 1] = np.nan
    values_QF[:, 2] = np.nan
    first, second, third = clustered_estimates(values_QF, clusters, RESAMPLES)
    alone = clustered_estimates(values_QF[:, :1], clusters, RESAMPLES)[0]
    assert first == alone and third is None
    assert second is not None and second.questions == 30
    assert second.mean == pytest.approx(np.nanmean(values_QF[:, 1]))
    assert second.interval is not None and second.interval.low < second.mean < second.interval.high


def test_few_clusters_have_no_interval() -> None:
    values_QF, _ = questions(30)
    (few, *_) = clustered_estimates(values_QF, [str(number % (FEWEST - 1)) for number in range(30)], RESAMPLES)
    assert few is not None and few.interval is None and few.p_value is None
    (enough, *_) = clustered_estimates(values_QF, [str(number % FEWEST) for number in range(30)], RESAMPLES)
    assert enough is not None and enough.interval is not None


def test_more_figures_than_are_computed_at_once() -> None:
    values_QF = np.tile(questions()[0][:, :1], (1, 300))
    found = clustered_estimates(values_QF, questions()[1], RESAMPLES)
    assert len(found) == 300 and len(set(found)) == 1


def test_no_questions_and_clusters_that_do_not_fit() -> None:
    assert clustered_estimates(np.zeros((0, 2)), []) == [None, None]
    with pytest.raises(ValueError, match="a cluster for each question"):
        clustered_estimates(np.zeros((3, 2)), ["a"])
