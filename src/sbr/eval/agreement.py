"""Do two ways of judging the same answers agree, beyond what chance alone would give?  Cohen's kappa.

J. Cohen 1960, Educ. Psychol. Meas. 20, 37-46.  kappa = (p_o - p_e) / (1 - p_e): p_o is the share of answers on which
both say the same, p_e what it would be if each said what it says as often, independently of the other.  1 is full
agreement, 0 that of chance, below 0 less.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from sbr.eval.stats import FEWEST, Interval


@dataclass(frozen=True, slots=True)
class Kappa:
    """Example: 100 answers, both say "consistent" to 20, both "not" to 50, they differ on 30: agreement 0.7, value 0.4
    when one says it to 30 and the other to 40."""

    value: float | None
    """None when a way says the same of every answer: it tells nothing apart, and there is nothing to agree on."""
    interval: Interval | None
    """95 %, percentile bootstrap over clusters.  None without a value, with fewer than `FEWEST` clusters, and when more
    than 1 in 20 resamples have no value."""
    agreement: float | None
    """p_o; None without answers."""
    answers: int
    clusters: int
    resamples: int
    seed: int


def cohen_kappa(
    one: Sequence[Hashable],
    two: Sequence[Hashable],
    clusters: Sequence[Hashable],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Kappa:
    """Agreement of two verdicts on each of A answers, nominal and unweighted.

    `clusters` name what an answer shares with others (its question, its video); whole clusters are drawn, as in
    `stats.clustered_difference`.  Raises ValueError for sequences of unequal length.
    """
    if not len(one) == len(two) == len(clusters):
        raise ValueError(f"need equally long sequences, got {len(one)}, {len(two)} and {len(clusters)} values")
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys([*one, *two]))}
    groups = {group: number for number, group in enumerate(dict.fromkeys(clusters))}
    counts_CKK = np.zeros((len(groups), len(kinds), len(kinds)))
    np.add.at(counts_CKK, ([groups[c] for c in clusters], [kinds[k] for k in one], [kinds[k] for k in two]), 1)
    whole_KK = counts_CKK.sum(axis=0)
    value = float(_kappas(whole_KK[None])[0])
    interval = None
    if np.isfinite(value) and (count := len(groups)) >= FEWEST:
        # Clusters with the same table are alike: how often each kind of table is drawn decides.
        tables_UF, alike_U = np.unique(counts_CKK.reshape(count, -1), axis=0, return_counts=True)
        drawn_RU = np.random.default_rng(seed).multinomial(count, alike_U / count, resamples)
        values_R = _kappas((drawn_RU @ tables_UF).reshape(-1, len(kinds), len(kinds)))
        defined = values_R[np.isfinite(values_R)]
        if len(defined) >= 0.95 * resamples:
            low, high = np.quantile(defined, [0.5 - confidence / 2, 0.5 + confidence / 2])
            interval = Interval(float(low), float(high))
    return Kappa(
        value=value if np.isfinite(value) else None,
        interval=interval,
        agreement=float(np.trace(whole_KK) / len(one)) if len(one) else None,
        answers=len(one),
        clusters=len(groups),
        resamples=resamples,
        seed=seed,
    )


def _kappas(counts_RKK: np.ndarray) -> np.ndarray:
    """(R,): kappa of every table of counts; NaN where a way says one and the same throughout."""
    total_R = counts_RKK.sum(axis=(1, 2))
    one_RK, two_RK = counts_RKK.sum(axis=2), counts_RKK.sum(axis=1)
    constant_R = ((one_RK > 0).sum(axis=1) < 2) | ((two_RK > 0).sum(axis=1) < 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed_R = np.trace(counts_RKK, axis1=1, axis2=2) / total_R
        expected_R = (one_RK * two_RK).sum(axis=1) / total_R**2
        return np.where(constant_R, np.nan, (observed_R - expected_R) / (1 - expected_R))
