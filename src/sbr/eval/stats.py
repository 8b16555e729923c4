"""Statistics of accuracies: intervals, paired differences, spread over seeds.  Plain numbers in, plain numbers out.

All intervals are two-sided and of 95 % unless told otherwise.  Sources:
[W]  E. B. Wilson 1927, J. Am. Stat. Assoc. 22, 209-212: score interval of one proportion.
[N1] R. G. Newcombe 1998, Statist. Med. 17, 873-890, method 10: difference of two independent proportions.
[N2] R. G. Newcombe 1998, Statist. Med. 17, 2635-2650, method 10: difference of two paired proportions.
[M]  Q. McNemar 1947, Psychometrika 12, 153-157, in its exact form: binomial test on the discordant pairs.
[D]  A. C. Davison, D. V. Hinkley 1997, Bootstrap Methods and their Application: clusters resampled whole,
     p-value that counts the observed value.
[K]  E. L. Korn, B. I. Graubard 1998, Survey Methodology 24, 193-201: binomial intervals with the effective sample size.
[H]  S. Holm 1979, Scand. J. Statist. 6, 65-70: p-values of several tests, so that any false claim is rare.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_DRAWS_AT_ONCE = 1 << 21
"""Clusters drawn in one numpy call; bounds the memory of a bootstrap to about 50 MB."""


FEWEST = 10
"""Questions or clusters from which a mean over them gets an interval that rests on their spread.  With fewer the spread
is no figure to rely on: two that agree would give an interval of width zero.  Simulated 95 % intervals of the bootstrap
hold the truth in 49 % of all cases with 2 clusters, in 73 % with 3, 83 % with 5, 90 % with 10 and 94 % with 30."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a confidence interval, as fractions.  Example: Interval(0.4404, 0.4800)."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Accuracy of `other` minus accuracy of `base` on the same questions, as fractions.

    Example: 100 questions, base right on 40, other on 50, both on 30: difference 0.10, only_base 10, only_other 20,
    p_value 0.0987.
    """

    difference: float
    interval: Interval | None
    """None with several samples a question and fewer than `FEWEST` questions."""
    p_value: float | None
    """Exact McNemar test; None when several samples a question were drawn."""
    only_base: float
    """Questions that only `base` has right (with several samples: the summed fractions it is ahead by)."""
    only_other: float
    method: str


@dataclass(frozen=True, slots=True)
class ClusteredDifference:
    """What a bootstrap over clusters says about a paired difference; the difference itself is that of PairedDifference.

    Example: 2432 questions of 210 videos: Interval(-0.003, 0.047), p_value 0.091, clusters 210, resamples 10000.
    """

    interval: Interval
    p_value: float
    clusters: int
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class MeanSpread:
    """Mean and sample standard deviation (n - 1) of one figure over seeds or samples; `sd` is None for one value."""

    mean: float
    sd: float | None
    n: int


def wilson_interval(correct: float, n: float, confidence: float = 0.95) -> Interval:
    """Score interval [W] of the proportion correct / n.  `n` may be a fractional effective sample size.

    >>> wilson_interval(1119, 2432)  # the paper's GRPO result on L1, 46.01 %
    Interval(low=0.4403851240406169, high=0.4799709404735635)
    """
    if not n > 0 or not 0 <= correct <= n:
        raise ValueError(f"need 0 <= correct <= n and n > 0, got correct={correct}, n={n}")
    return score_interval(correct / n, n, _z(confidence))


def score_interval(p: float, n: float, z: float) -> Interval:
    """Wilson's interval [W] of a proportion `p` of `n`, as many standard errors wide as `z` says."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and 1 the limit is exactly the proportion; rounding must not move it past.
    return Interval(low=min(p, max(0.0, centre - half)), high=max(p, min(1.0, centre + half)))


def clustered_wilson_interval(
    accuracy_per_question: Sequence[float], samples: float, confidence: float = 0.95
) -> Interval:
    """Wilson interval of the mean accuracy when every question was answered `samples` times (on average).

    `accuracy_per_question`: for every question the share of its answers that are right.  Answers to one question are
    not independent, so the effective sample size [K] is p (1 - p) / var(mean), at least the number of questions and at
    most the number of answers in all.  With one answer a question this is `wilson_interval`.
    """
    values = np.asarray(accuracy_per_question, dtype=float)
    n = len(values)
    p = float(values.mean())
    variance_of_mean = float(values.var(ddof=1)) / n if n > 1 else 0.0
    effective = float(n)
    if variance_of_mean > 0:
        effective = min(n * samples, max(n, p * (1 - p) / variance_of_mean))
    return wilson_interval(p * effective, effective, confidence)


def difference_interval(correct_1: int, n_1: int, correct_2: int, n_2: int, confidence: float = 0.95) -> Interval:
    """Interval of correct_1 / n_1 - correct_2 / n_2 for two independent sets of questions [N1]."""
    one, two = wilson_interval(correct_1, n_1, confidence), wilson_interval(correct_2, n_2, confidence)
    p_1, p_2 = correct_1 / n_1, correct_2 / n_2
    low = p_1 - p_2 - math.hypot(p_1 - one.low, two.high - p_2)
    high = p_1 - p_2 + math.hypot(one.high - p_1, p_2 - two.low)
    return Interval(max(-1.0, low), min(1.0, high))


def paired_interval(both: int, only_1: int, only_2: int, neither: int, confidence: float = 0.95) -> Interval:
    """Interval of the difference p_1 - p_2 on the same questions [N2].

    Counts of questions: right in both, right only in 1, right only in 2, right in neither.
    """
    n = both + only_1 + only_2 + neither
    one, two = wilson_interval(both + only_1, n, confidence), wilson_interval(both + only_2, n, confidence)
    p_1, p_2 = (both + only_1) / n, (both + only_2) / n
    phi = _paired_correlation(both, only_1, only_2, neither)

    def half(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    low = p_1 - p_2 - half(p_1 - one.low, two.high - p_2)
    high = p_1 - p_2 + half(one.high - p_1, p_2 - two.low)
    return Interval(max(-1.0, low), min(1.0, high))


def mcnemar_exact(only_1: int, only_2: int) -> float:
    """Two-sided exact p-value of "both are right equally often" from the discordant pairs [M]; 1.0 without any."""
    discordant = only_1 + only_2
    if discordant == 0:
        return 1.0
    return float(min(1.0, 2 * stats.binom.cdf(min(only_1, only_2), discordant, 0.5)))


def paired_difference(base: Sequence[float], other: Sequence[float], confidence: float = 0.95) -> PairedDifference:
    """Compare two runs question by question; both sequences are in the same order of questions.

    Values are the share of right samples of each question.  When all are 0 or 1: Newcombe's interval [N2] and the exact
    McNemar p-value [M].  Otherwise: normal interval of the mean difference per question, from `FEWEST` questions on,
    and no p-value.
    Questions count as independent; `clustered_difference` does without that.
    """
    if len(base) != len(other) or not base:
        raise ValueError(f"need two equally long, non-empty sequences, got {len(base)} and {len(other)} values")
    base_Q, other_Q = np.asarray(base, dtype=float), np.asarray(other, dtype=float)
    differences_Q = other_Q - base_Q
    difference = float(differences_Q.mean())
    only_base = float(np.maximum(-differences_Q, 0).sum())
    only_other = float(np.maximum(differences_Q, 0).sum())
    if set(np.unique(np.concatenate([base_Q, other_Q]))) <= {0.0, 1.0}:
        both = int((base_Q * other_Q).sum())
        neither = len(base) - both - int(only_base) - int(only_other)
        interval = paired_interval(both, int(only_other), int(only_base), neither, confidence)
        p_value = mcnemar_exact(int(only_base), int(only_other))
        return PairedDifference(difference, interval, p_value, only_base, only_other, "Newcombe paired, exact McNemar")
    interval = None
    if len(base) >= FEWEST:
        half = _z(confidence) * float(differences_Q.std(ddof=1)) / math.sqrt(len(base))
        interval = Interval(max(-1.0, difference - half), min(1.0, difference + half))
    return PairedDifference(difference, interval, None, only_base, only_other, "normal over questions")


def clustered_difference(
    base: Sequence[float],
    other: Sequence[float],
    clusters: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> ClusteredDifference:
    """Paired bootstrap of mean(other) - mean(base) that draws whole clusters of questions [D].

    `base`, `other`: the share of right samples of each question, in the same order; `clusters`: what a question shares
    with others, here its video.  As many clusters as there are are drawn with replacement, each with all its questions,
    so nothing is assumed about questions of one cluster.  Percentile interval; two-sided p-value from the resampled
    differences on either side of zero, at least 2 / (resamples + 1).  With one question a cluster this is the ordinary
    paired bootstrap.  With few clusters (below about 30) both are too sure of themselves, and below `FEWEST` they say
    nothing.  Raises ValueError for sequences of unequal length and for fewer clusters than that.
    """
    if not len(base) == len(other) == len(clusters):
        raise ValueError(f"need equally long sequences, got {len(base)}, {len(other)} and {len(clusters)} values")
    cluster_Q = np.unique(np.asarray(clusters), return_inverse=True)[1]
    questions_C = np.bincount(cluster_Q)
    if (count := len(questions_C)) < FEWEST:
        raise ValueError(f"need at least {FEWEST} clusters to resample, got {count}")
    differences_C = np.bincount(cluster_Q, weights=np.asarray(other, dtype=float) - np.asarray(base, dtype=float))
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // count)
    blocks: list[np.ndarray] = []
    for start in range(0, resamples, rows):
        drawn_RC = generator.integers(0, count, (min(rows, resamples - start), count))
        blocks.append(differences_C[drawn_RC].sum(axis=1) / questions_C[drawn_RC].sum(axis=1))
    # Thirds do not cancel exactly; a difference of zero must count on both sides.
    differences_R = np.concatenate(blocks).round(12)
    low, high = np.quantile(differences_R, [0.5 - confidence / 2, 0.5 + confidence / 2])
    beyond = min(int((differences_R <= 0).sum()), int((differences_R >= 0).sum()))
    p_value = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    return ClusteredDifference(Interval(float(low), float(high)), p_value, count, resamples, seed)


def most_discordant_pairs(gap: int, questions: int, alpha: float = 0.05) -> int | None:
    """How many questions may be right in only one of two runs, at most, for a gap to be significant [M].

    `gap`: by how many right answers one run is ahead on the same `questions`.  McNemar's p-value grows with the number
    of questions on which the runs differ.  None when the gap is not significant even if no question was lost.
    Raises ValueError unless 0 <= gap <= questions.

    >>> most_discordant_pairs(6, 100)  # 6 won and 0 lost: p = 0.031; 7 won and 1 lost: p = 0.070
    6
    """
    if not 0 <= gap <= questions:
        raise ValueError(f"need 0 <= gap <= questions, got gap={gap}, questions={questions}")
    losses = range((questions - gap) // 2 + 1)
    significant = bisect_left(losses, True, key=lambda lost: mcnemar_exact(lost, lost + gap) > alpha)
    return gap + 2 * (significant - 1) if significant else None


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number [H], in their order: claiming those up to 0.05 makes any false claim at
    most that probable, however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def mean_and_sd(values: Sequence[float]) -> MeanSpread:
    """Mean and sample standard deviation over seeds; the deviation of a single value is None."""
    if not values:
        raise ValueError("mean of no values")
    array = np.asarray(values, dtype=float)
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return MeanSpread(mean=float(array.mean()), sd=sd, n=len(array))


def _z(confidence: float) -> float:
    return float(stats.norm.ppf(0.5 + confidence / 2))


def _paired_correlation(both: int, only_1: int, only_2: int, neither: int) -> float:
    """Phi coefficient of the 2x2 table, continuity-corrected [N2] when positive; 0 when a margin is empty."""
    margins = (both + only_1) * (only_2 + neither) * (both + only_2) * (only_1 + neither)
    if margins == 0:
        return 0.0
    n = both + only_1 + only_2 + neither
    cross = both * neither - only_1 * only_2
    if cross > 0:
        cross = max(cross - n / 2, 0)
    return cross / math.sqrt(margins)
