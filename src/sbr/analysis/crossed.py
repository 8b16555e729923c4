"""Means over seeds and questions that are crossed: every seed has answered all questions.

What a seed is worth and how hard a question is are both drawn at random, and a mean over S seeds and Q questions varies
with both.  This is the design of a study in which several readers judge the same cases, and its test is used here:
[Hi] S. L. Hillis 2007, Statist. Med. 26, 596-619: variance of a mean over readers and cases, degrees of freedom.
[S]  F. E. Satterthwaite 1946, Biometrics Bull. 2, 110-114: degrees of freedom of a sum of variances.
[C]  A. C. Cameron, J. B. Gelbach, D. L. Miller 2011, J. Bus. Econ. Stat. 29, 238-249: the same variance, any sizes of
     clusters.
[K]  E. L. Korn, B. I. Graubard 1998, Survey Methodology 24, 193-201: binomial intervals with the effective sample size.
[O]  A. B. Owen 2007, Ann. Appl. Stat. 1, 386-411: the pigeonhole bootstrap, seeds and questions resampled apart.
[M]  P. McCullagh 2000, Bernoulli 6, 285-301: no bootstrap of crossed factors has the right variance.

With m_s the mean of seed s, u_v what video v adds to the mean over seeds, and r_sv what is left without both:

    V_rest      = C / (C - 1) sum_sv r_sv^2 / (S (S - 1))                 C videos; in both of what follows
    V_seeds     = sum_s (m_s - m)^2 / (S (S - 1))
    V_questions = max(C / (C - 1) sum_v u_v^2 - V_rest, 0)
    V           = max(V_seeds + V_questions, V_rest)
    df          = V^2 / (V_seeds^2 / (S - 1) + V_questions^2 / (C - 1)), at most (S - 1) (C - 1) with several seeds

V_rest as the least is not in [Hi]: seeds that agree by chance would give an interval of no width.

The mean over several bases is one over these bases, which are not drawn; their seeds are independent of each other.

The bootstrap stands beside.  Its variance has (1 - 1/S) V_seeds where V_seeds belongs, and the rest about three times
[M], [O]; so it is too narrow where few seeds differ, and too wide where neither seeds nor questions matter much, as in
differences.  docs/statistics.md has both in a simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sbr.analysis.bootstrap import drawn
from sbr.eval.stats import FEWEST, Interval, score_interval

RESAMPLES = 4_000
_CELLS_AT_ONCE = 1 << 22
_NOTHING = 1e-20
"""Variances below are rounding: one answer of a million that differs gives 1e-12."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """A mean over bases, seeds and questions, or a difference of two, as fractions.

    Example: mean 0.823, interval [0.780, 0.861], error 0.017, df 7.2, bootstrap [0.792, 0.853].
    """

    mean: float
    interval: Interval | None
    """95 %.  None with fewer than `sbr.eval.stats.FEWEST` clusters, and for differences that are all equal."""
    error: float
    """Standard error: the root of V."""
    df: float | None
    """Degrees of freedom; None where nothing varies."""
    seeds_variance: float
    """V_seeds; 0 with one model a base."""
    questions_variance: float
    """V_questions"""
    bootstrap: Interval | None
    """Percentile interval of the pigeonhole bootstrap [O], to compare with.  None with fewer than `FEWEST` clusters."""
    p_value: float | None
    """Of a difference: that it is 0, two-sided.  None for accuracies, and as the interval; 1 when no answer differs."""


class Answers:
    """Right answers of R runs to the same Q questions, and one drawing of clusters for all figures about them."""

    def __init__(self, shares_RQ: np.ndarray, cluster_Q: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> None:
        """`shares_RQ`: the share of right answers to each question; `cluster_Q`: numbers from 0, of what questions
        share with others, here their video."""
        self.questions_C = np.bincount(cluster_Q).astype(float)
        self.sums_RC = np.stack([np.bincount(cluster_Q, weights=row) for row in shares_RQ])
        self.clusters = len(self.questions_C)
        self._seed = seed
        self._weights: dict[tuple[int, int], np.ndarray] = {}
        self._drawn_means_RB = self._draw(resamples) if self.clusters >= FEWEST else None

    def accuracy(self, groups: Sequence[Sequence[int]]) -> Crossed:
        """`groups`: for every base the rows of its seeds; a single row is a model whose seeds do not count."""
        return self._figure([self.sums_RC[list(rows)] for rows in groups], self._means(groups), difference=False)

    def difference(self, groups: Sequence[Sequence[tuple[int, int]]]) -> Crossed:
        """Of other minus first.  `groups`: for every base the rows (first, other) of each seed."""
        firsts, others = ([[pair[side] for pair in pairs] for pairs in groups] for side in (0, 1))
        sums = [self.sums_RC[other] - self.sums_RC[first] for first, other in zip(firsts, others, strict=True)]
        means = [two - one for one, two in zip(self._means(firsts), self._means(others), strict=True)]
        return self._figure(sums, means, difference=True)

    def _draw(self, resamples: int) -> np.ndarray:
        """Mean of every run in every resample of the clusters, (R, B)."""
        rows = max(1, _CELLS_AT_ONCE // self.clusters)
        blocks: list[np.ndarray] = []
        for start in range(0, resamples, rows):
            counts_BC = drawn(self.clusters, min(rows, resamples - start), [self._seed, start])
            blocks.append((counts_BC @ self.sums_RC.T) / (counts_BC @ self.questions_C)[:, None])
        return np.concatenate(blocks).T

    def _means(self, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return [] if self._drawn_means_RB is None else [self._drawn_means_RB[list(rows)] for rows in groups]

    def _figure(self, sums: Sequence[np.ndarray], means: Sequence[np.ndarray], difference: bool) -> Crossed:
        """`sums`: (S, C) a base; `means`: (S, B) a base, or nothing."""
        mean, seeds, questions, variance, df = self._variances(sums)
        interval = p_value = None
        if self.clusters >= FEWEST:
            if difference:
                interval, p_value = _of_difference(mean, variance, df)
            else:
                answers = self.questions_C.sum() * sum(len(rows) for rows in sums)
                interval = _of_accuracy(mean, variance, df, self.questions_C.sum(), answers)
        bootstrap = self._bootstrap(means) if means else None
        return Crossed(mean, interval, math.sqrt(variance), df, seeds, questions, bootstrap, p_value)

    def _variances(self, sums: Sequence[np.ndarray]) -> tuple[float, float, float, float, float | None]:
        """Mean, V_seeds, V_questions, V and df; df is None where nothing varies."""
        bases, total, clusters = len(sums), self.questions_C.sum(), self.clusters
        more = clusters / (clusters - 1) if clusters > 1 else 0.0
        mean = seeds = seeds_spread = rest = 0.0
        most = (clusters - 1) * sum(len(rows) - 1 for rows in sums)
        added_C = np.zeros(clusters)
        for sums_SC in sums:
            count = len(sums_SC)
            means_S = sums_SC.sum(1) / total
            added_SC = (sums_SC - self.questions_C * means_S[:, None]) / total
            mean += means_S.mean() / bases
            added_C += added_SC.mean(0) / bases
            if count > 1:
                scale = bases**2 * count * (count - 1)
                own = ((means_S - means_S.mean()) ** 2).sum() / scale
                seeds, seeds_spread = seeds + own, seeds_spread + own**2 / (count - 1)
                rest += more * ((added_SC - added_SC.mean(0)) ** 2).sum() / scale
        questions = max(0.0, more * (added_C**2).sum() - rest)
        variance = max(seeds + questions, rest)
        if variance < _NOTHING:
            return float(mean), 0.0, 0.0, 0.0, None
        spread = seeds_spread + (questions**2 / (clusters - 1) if clusters > 1 else 0.0)
        df = min(variance**2 / spread if spread > 0 else math.inf, most or math.inf)
        return float(mean), float(seeds), float(questions), float(variance), float(df)

    def _bootstrap(self, means: Sequence[np.ndarray]) -> Interval:
        total_B = np.zeros(means[0].shape[1])
        for base, means_SB in enumerate(means):
            weights_SB = self._drawn_seeds(base, *means_SB.shape)
            total_B += np.einsum("sb,sb->b", weights_SB, means_SB) / len(means)
        low, high = np.quantile(total_B, [0.025, 0.975])
        return Interval(float(low), float(high))

    def _drawn_seeds(self, base: int, seeds: int, resamples: int) -> np.ndarray:
        """What each seed weighs in each resample, (S, B); the same for all figures with so many seeds."""
        if (base, seeds) not in self._weights:
            generator = np.random.default_rng([self._seed, base, seeds])
            drawn_BS = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
            self._weights[base, seeds] = np.ascontiguousarray(drawn_BS.T) / seeds
        return self._weights[base, seeds]


def _of_accuracy(mean: float, variance: float, df: float | None, questions: float, answers: float) -> Interval:
    """Wilson's interval with the number of independent answers that would vary as much [K], and t instead of z."""
    if df is None:  # all right or all wrong; as if every question had been asked once
        return score_interval(mean, questions, float(stats.norm.ppf(0.975)))
    effective = min(answers, mean * (1 - mean) / variance)
    return score_interval(mean, effective, float(stats.t.ppf(0.975, df)))


def _of_difference(mean: float, variance: float, df: float | None) -> tuple[Interval | None, float | None]:
    if df is None:
        return None, 1.0 if mean == 0 else None
    half = float(stats.t.ppf(0.975, df)) * math.sqrt(variance)
    p_value = float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), df))
    return Interval(max(-1.0, mean - half), min(1.0, mean + half)), min(1.0, p_value)
