"""Intervals of many means at once, all from the same drawings of clusters.

Means and intervals are those of `sbr.eval.stats.clustered_difference`, whose drawings these are; one drawing serves all
figures, and a figure may lack some of the questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbr.eval.stats import FEWEST, Interval

_FIGURES_AT_ONCE = 128
"""Bounds the memory to about 40 MB at 10,000 resamples."""
_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions with its 95 % interval.  Example: Estimate(0.1, Interval(0.02, 0.2), 0.01, 150, 40)."""

    mean: float
    interval: Interval | None
    """None with fewer than `sbr.eval.stats.FEWEST` clusters."""
    p_value: float | None
    """That the mean is 0; means nothing for what cannot be negative.  None as the interval."""
    questions: int
    clusters: int


def clustered_estimates(
    values_QF: np.ndarray, clusters: Sequence[str], resamples: int = 10_000, seed: int = 0
) -> list[Estimate | None]:
    """F figures of Q questions, NaN where a question has none -> the mean of each over its questions.

    `clusters` names what a question shares with others, here its video; whole clusters are drawn with replacement.
    Percentile interval, two-sided p-value at least 2 / (resamples + 1).  A figure without questions is None.
    """
    if len(clusters) != len(values_QF):
        raise ValueError(f"need a cluster for each question, got {len(clusters)} for {len(values_QF)}")
    if not len(values_QF):
        return [None] * values_QF.shape[1]
    names, cluster_Q = np.unique(np.asarray(clusters), return_inverse=True)
    there_QF = np.isfinite(values_QF)
    member_CQ = (np.arange(len(names))[:, None] == cluster_Q).astype(float)
    sums_CF, counts_CF = member_CQ @ np.where(there_QF, values_QF, 0.0), member_CQ @ there_QF.astype(float)
    drawn_RC = drawn(len(names), resamples, seed) if len(names) >= FEWEST else None
    found: list[Estimate | None] = []
    for start in range(0, values_QF.shape[1], _FIGURES_AT_ONCE):
        part = slice(start, start + _FIGURES_AT_ONCE)
        found += _estimates(sums_CF[:, part], counts_CF[:, part], drawn_RC)
    return found


def drawn(clusters: int, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    """How often each cluster is in each resample, (R, C)."""
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // clusters)
    blocks: list[np.ndarray] = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = generator.integers(0, clusters, (count, clusters)) + clusters * np.arange(count)[:, None]
        blocks.append(np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters))
    return np.concatenate(blocks).astype(float)


def _estimates(sums_CF: np.ndarray, counts_CF: np.ndarray, drawn_RC: np.ndarray | None) -> list[Estimate | None]:
    questions_F, clusters_F = counts_CF.sum(0), (counts_CF > 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):  # figures without questions, and resamples that miss all
        means_F = sums_CF.sum(0) / questions_F
        means_RF = None if drawn_RC is None else ((drawn_RC @ sums_CF) / (drawn_RC @ counts_CF)).round(12)
    found: list[Estimate | None] = []
    for figure, (mean, questions, clusters) in enumerate(zip(means_F, questions_F, clusters_F, strict=True)):
        if questions == 0:
            found.append(None)
            continue
        interval = p_value = None
        if means_RF is not None and clusters >= FEWEST:
            means_R = means_RF[:, figure]
            means_R = means_R[np.isfinite(means_R)]
            low, high = np.quantile(means_R, [0.025, 0.975])
            interval = Interval(float(low), float(high))
            beyond = min(int((means_R <= 0).sum()), int((means_R >= 0).sum()))
            p_value = min(1.0, 2 * (beyond + 1) / (len(means_R) + 1))
        found.append(Estimate(float(mean), interval, p_value, int(questions), int(clusters)))
    return found
