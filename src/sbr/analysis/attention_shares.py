"""Attention of many answers as numbers: shares, how dense the maps are, what the attended tokens do to the answer.

Every figure is a mean over questions, first over the tokens of a span within each answer.  Runs are compared on the
same questions; intervals draw whole videos with replacement (`analysis.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from sbr.analysis.attention_records import AttentionRecord
from sbr.analysis.attention_spans import SPANS, Span, tokens_of
from sbr.analysis.bootstrap import Estimate, clustered_estimates
from sbr.errors import DataError

MEDIA = ("video", "image", "text", "own")
"""Parts of the context: fields of `Shares`."""

QuestionId = tuple[str, str]
"""Level and sample_id."""

Maps = Callable[[str, AttentionRecord], np.ndarray]
"""(run, record) -> its maps tokens_NV; usually `lambda run, record: read_maps(folders[run], record)[0]`."""


Kind = Literal[
    "share",
    "entropy",
    "half",
    "sinks",
    "top",
    "random",
    "effect",
    "reasoning_top",
    "reasoning_random",
    "reasoning_effect",
]


class Figure(NamedTuple):
    """What is averaged.  Example: Figure("share", "think", medium="video", layer=3).

    share     of the attention of a generated token on a part of the context, in `layer` or, None, mean over layers
    entropy   of a token's map over visual tokens, in units of its largest value log V: 1 is even, 0 one token alone
    half      smallest share of the visual tokens that holds half of a token's visual attention
    sinks     share of a token's visual attention on tokens flagged as sinks
    top       change of the answer's log-probability (nats) without the `fraction` of visual tokens that `span` attends
              to most
    random    the same without as many drawn at random, mean of the drawings
    effect    top - random: below 0 the attended tokens matter more to the answer than others

    reasoning_top, reasoning_random and reasoning_effect are the same of the reasoning, summed over its tokens.
    """

    kind: Kind
    span: Span
    medium: str | None = None
    layer: int | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class AttentionSummary:
    """Runs on the same questions."""

    runs: tuple[str, ...]
    questions: int
    levels: Mapping[str, int]
    """Questions of each level."""
    layers: tuple[int, ...]
    spans: tuple[Span, ...]
    fractions: tuple[float, ...]
    figures: Mapping[tuple[str, Figure], Estimate]
    """(run, figure) -> its mean; a figure that no question has is absent."""
    differences: Mapping[tuple[str, str, Figure], Estimate]
    """(base, other, figure) -> other minus base, paired by question; those without a layer."""
    sinks: Mapping[str, float]
    """Run -> share of the visual tokens that are flagged as sinks."""
    retokenised: Mapping[str, int]
    """Run -> answers whose tokens are not known to be those that were generated."""
    unseen: Mapping[str, int]
    """Run -> answers to questions of which nothing was shown."""


def attention_summary(
    runs: Mapping[str, Sequence[AttentionRecord]],
    maps: Maps,
    videos: Mapping[QuestionId, str | None],
    resamples: int = 10_000,
    seed: int = 0,
) -> AttentionSummary:
    """All figures of `runs` on the questions that all of them have.

    `videos` names the video of a question; one without is a cluster of its own.  Raises DataError when the runs share
    no question, have several answers to one, or recorded other layers.
    """
    by_question = {name: _by_question(name, records) for name, records in runs.items()}
    shared = set.intersection(*(set(records) for records in by_question.values())) if by_question else set()
    if not shared:
        raise DataError(f"{', '.join(runs) or 'no runs'}: there is no question whose attention all of them have")
    questions = sorted(shared)
    layers = {records[question].layers for records in by_question.values() for question in questions}
    if len(layers) > 1:
        raise DataError(
            f"{', '.join(runs)} recorded different layers ({len(layers)} choices); models of one depth can be compared"
        )
    clusters = [f"v{videos[q]}" if videos.get(q) is not None else f"q{q}" for q in questions]
    values = {
        name: [question_figures(records[q], maps(name, records[q])) for q in questions]
        for name, records in by_question.items()
    }
    names = list(dict.fromkeys(figure for of_run in values.values() for found in of_run for figure in found))
    matrices = {
        name: np.array([[found.get(figure, np.nan) for figure in names] for found in of_run], dtype=float)
        for name, of_run in values.items()
    }
    figures = {
        (name, figure): estimate
        for name, values_QF in matrices.items()
        for figure, estimate in zip(names, clustered_estimates(values_QF, clusters, resamples, seed), strict=True)
        if estimate is not None
    }
    compared = [place for place, figure in enumerate(names) if figure.layer is None]
    differences = {
        (base, other, names[place]): estimate
        for base, other in combinations(matrices, 2)
        for place, estimate in zip(
            compared,
            clustered_estimates((matrices[other] - matrices[base])[:, compared], clusters, resamples, seed),
            strict=True,
        )
        if estimate is not None
    }
    chosen = {name: [records[q] for q in questions] for name, records in by_question.items()}
    return AttentionSummary(
        runs=tuple(runs),
        questions=len(questions),
        levels={level: sum(q[0] == level for q in questions) for level in sorted({level for level, _ in questions})},
        layers=next(iter(layers)),
        spans=SPANS,
        fractions=tuple(sorted({figure.fraction for figure in names if figure.fraction is not None})),
        figures=figures,
        differences=differences,
        sinks={
            name: _ratio(sum(len(r.sinks) for r in records), sum(r.visual_tokens for r in records))
            for name, records in chosen.items()
        },
        retokenised={name: sum(not r.same_tokens for r in records) for name, records in chosen.items()},
        unseen={name: sum(not r.visual_tokens for r in records) for name, records in chosen.items()},
    )


def question_figures(record: AttentionRecord, tokens_NV: np.ndarray) -> dict[Figure, float]:
    """Every figure that one answer has; means over the tokens of each span."""
    found: dict[Figure, float] = {}
    shares_lN4 = np.array(
        [[[getattr(token, medium) for medium in MEDIA] for token in of_layer] for of_layer in record.shares]
    ).reshape(len(record.layers), len(record.tokens), len(MEDIA))
    density_N3 = _density(tokens_NV, record.sinks)
    for span in SPANS:
        if not (tokens := list(tokens_of(record, span))):
            continue
        shares_l4 = shares_lN4[:, tokens].mean(1)
        for m, medium in enumerate(MEDIA):
            found[Figure("share", span, medium)] = float(shares_l4[:, m].mean())
            found |= {
                Figure("share", span, medium, layer): float(share)
                for layer, share in zip(record.layers, shares_l4[:, m], strict=True)
            }
        seen = density_N3[tokens]
        seen = seen[np.isfinite(seen[:, 0])]
        if len(seen):
            entropy, half, sinks = seen.mean(0).tolist()
            found |= {Figure("entropy", span): entropy, Figure("half", span): half, Figure("sinks", span): sinks}
    for effect in record.effects:
        span = _effect_span(record, effect.span)
        found |= _effects(("top", "random", "effect"), span, effect.fraction, effect.top, effect.random)
        if effect.reasoning_top is not None:
            kinds = ("reasoning_top", "reasoning_random", "reasoning_effect")
            found |= _effects(kinds, span, effect.fraction, effect.reasoning_top, effect.reasoning_random)
    return found


def _effects(
    kinds: tuple[Kind, Kind, Kind], span: Span, fraction: float, top: float, random_R: Sequence[float]
) -> dict[Figure, float]:
    random = sum(random_R) / len(random_R)
    values = (top, random, top - random)
    return {Figure(kind, span, fraction=fraction): value for kind, value in zip(kinds, values, strict=True)}


def densities(map_V: np.ndarray) -> tuple[float, float]:
    """Entropy and half (`Figure`) of one map; NaN of a map without any attention."""
    entropy, half, _ = _density(map_V[None], ())[0].tolist()
    return entropy, half


def _density(tokens_NV: np.ndarray, sinks: Sequence[int]) -> np.ndarray:
    """(N, 3): entropy, half, sinks of each map."""
    N, V = tokens_NV.shape
    mass_N1 = tokens_NV.sum(1, keepdims=True, dtype=float)
    density_N3 = np.full((N, 3), np.nan)
    if V < 2 or not (seen := mass_N1[:, 0] > 0).any():
        return density_N3
    p_NV = np.asarray(tokens_NV, dtype=float)[seen] / mass_N1[seen]
    logs_NV = np.log(p_NV, out=np.zeros_like(p_NV), where=p_NV > 0)
    most_first_NV = -np.sort(-p_NV, axis=1)
    density_N3[seen, 0] = -(p_NV * logs_NV).sum(1) / np.log(V)
    density_N3[seen, 1] = ((most_first_NV.cumsum(1) < 0.5 - 1e-9).sum(1) + 1) / V
    density_N3[seen, 2] = p_NV[:, list(sinks)].sum(1)
    return density_N3


def _by_question(name: str, records: Iterable[AttentionRecord]) -> dict[QuestionId, AttentionRecord]:
    found: dict[QuestionId, AttentionRecord] = {}
    for record in records:
        question = (record.level, record.sample_id)
        if question in found:
            raise DataError(f"{name} has the attention of two answers to question {question[1]} of {question[0]}")
        found[question] = record
    return found


def _effect_span(record: AttentionRecord, span: str) -> Span:
    if span not in SPANS:
        raise DataError(f"question {record.sample_id} of {record.level}: an effect has the span {span!r}")
    return span


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
