"""Evaluations -> the first screen's results beside the paper's, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from sbr.analysis.evaluated import EvaluatedRun
from sbr.eval.compare import Comparison, compare_records
from sbr.eval.stats import ClusteredDifference, PairedDifference, holm
from sbr.eval.summary import OVERALL, Slice, levels_of
from sbr.report.accuracy import accuracy_rows, same_questions
from sbr.report.page.data import Difference, Fraction, ResultRow
from sbr.report.published.rows import Figure

ALL_PAIRS = 4
"""Up to so many runs every two are compared; of more, each with the first."""


def results_of(asked: Sequence[EvaluatedRun]) -> tuple[tuple[str, ...], tuple[ResultRow, ...], str]:
    """(columns, rows, note): every run, then the paper's rows if the runs answered its questions.

    Raises DataError when the runs do not share their levels and domains.
    """
    levels = {run.name: levels_of(run.records) for run in asked}
    rule = ", ".join(sorted({record.rule for run in asked for record in run.records}))
    found = accuracy_rows(levels, rule, paper=same_questions(levels))
    rows = [ResultRow(name, False, tuple(map(fraction_of, parts))) for name, parts in found.runs]
    rows += [ResultRow(name, True, tuple(map(_paper_fraction, cells))) for name, cells in found.paper]
    return found.columns, tuple(rows), found.note


def comparisons_of(asked: Sequence[EvaluatedRun]) -> tuple[Comparison, ...]:
    """Every two runs, or each with the first when there are more than `ALL_PAIRS`; whole levels only.

    Raises DataError when two runs did not answer the same questions.
    """
    pairs = list(combinations(asked, 2)) if len(asked) <= ALL_PAIRS else [(asked[0], run) for run in asked[1:]]
    return tuple(
        compare_records(base.records, other.records, base.name, other.name, whole_levels=True) for base, other in pairs
    )


def differences_of(comparisons: Sequence[Comparison]) -> tuple[Difference, ...]:
    """One a comparison and level."""
    return tuple(
        difference(comparison.base_name, comparison.other_name, part.level, part.paired, part.by_video, part.videos)
        for comparison in comparisons
        for part in comparison.slices
        if part.base.name == OVERALL
    )


def difference(
    base: str,
    other: str,
    level: str,
    paired: PairedDifference,
    by_video: ClusteredDifference | None,
    videos: int | None,
) -> Difference:
    limits, video = paired.interval, None if by_video is None else by_video.interval
    return Difference(
        base=base,
        other=other,
        level=level,
        value=paired.difference,
        low=None if limits is None else limits.low,
        high=None if limits is None else limits.high,
        p=paired.p_value,
        video_low=None if video is None else video.low,
        video_high=None if video is None else video.high,
        videos=videos,
    )


def corrected(*families: Sequence[Difference]) -> list[tuple[Difference, ...]]:
    """The same with p-values corrected for the number of all of them together."""
    p_values = iter(holm([d.p for family in families for d in family if d.p is not None]))
    return [tuple(d if d.p is None else replace(d, p_holm=next(p_values)) for d in family) for family in families]


def is_supported(difference: Difference) -> bool:
    """Whether it may be claimed: 0 lies outside of its intervals, and the corrected p-value, if any, is up to 0.05."""
    limits = [(difference.low, difference.high), (difference.video_low, difference.video_high)]
    known = [(low, high) for low, high in limits if low is not None and high is not None]
    outside = bool(known) and all(low > 0 or high < 0 for low, high in known)
    return outside and (difference.p_holm is None or difference.p_holm <= 0.05)


def fraction_of(part: Slice) -> Fraction:
    return Fraction(part.accuracy, part.interval.low, part.interval.high, part.questions)


def _paper_fraction(figure: Figure | None) -> Fraction | None:
    if figure is None or figure.questions is None:
        return None
    limits = figure.interval
    low, high = (None, None) if limits is None else (limits.low, limits.high)
    return Fraction(figure.percent / 100, low, high, figure.questions)
