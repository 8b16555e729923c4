"""Two runs' records of the same questions -> differences per level, domain, scenario and group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sbr.errors import DataError
from sbr.eval.records import RecordKey, correct_by_question, record_key
from sbr.eval.stats import FEWEST, ClusteredDifference, PairedDifference, clustered_difference, paired_difference
from sbr.eval.summary import OVERALL, Slice, in_natural_order, question_accuracies, slice_of
from sbr.types import EvalRecord

Pair = tuple[EvalRecord, EvalRecord]
"""The same question (and sample index) answered by both runs."""


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """One level, domain, scenario or group of two runs.

    Example: level "L1", base 34.8 %, other 46.0 %, difference +11.2 points.
    """

    level: str
    base: Slice
    other: Slice
    paired: PairedDifference
    by_video: ClusteredDifference | None = None
    """With whole videos resampled; None when the records do not name the videos, or they are fewer than
    `stats.FEWEST`."""
    videos: int | None = None
    """How many videos the questions are of; None when not every record names its video."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All levels of two runs, each followed by its domains when it has several."""

    base_name: str
    other_name: str
    rule: str
    slices: tuple[SliceComparison, ...]
    groups: Mapping[str, tuple[SliceComparison, ...]] = field(default_factory=dict)
    """"scenario" and the names in EvalRecord.groups -> the parts of every level that has several."""


def compare_records(
    base: Sequence[EvalRecord],
    other: Sequence[EvalRecord],
    base_name: str,
    other_name: str,
    other_control: bool = False,
    whole_levels: bool = False,
) -> Comparison:
    """Paired comparison, question by question; `whole_levels` leaves out their domains, scenarios and groups.

    Raises as `refuse_unlike` does: such numbers must not be subtracted.
    """
    refuse_unlike(base, other, base_name, other_name, other_control)
    other_by_key = {record_key(record): record for record in other}
    pairs = [(record, other_by_key[record_key(record)]) for record in base]
    slices: list[SliceComparison] = []
    groups: dict[str, list[SliceComparison]] = {}
    for level in sorted({record.level for record in base}):
        of_level = [pair for pair in pairs if pair[0].level == level]
        slices.append(_compare_slice(level, OVERALL, of_level))
        if whole_levels:
            continue
        slices += _compare_parts(level, of_level, lambda record: record.domain)
        groups.setdefault("scenario", []).extend(_compare_parts(level, of_level, lambda record: record.scenario))
        for name in dict.fromkeys(name for pair in of_level for record in pair for name, _ in record.groups):
            parts = _compare_parts(level, of_level, lambda record, name=name: dict(record.groups).get(name))
            groups.setdefault(name, []).extend(parts)
    named = {name: tuple(parts) for name, parts in groups.items() if parts}
    return Comparison(base_name, other_name, base[0].rule, tuple(slices), named)


def refuse_unlike(
    base: Sequence[EvalRecord],
    other: Sequence[EvalRecord],
    base_name: str,
    other_name: str,
    other_control: bool = False,
) -> None:
    """Raise DataError when the two runs do not answer the same questions (same level, id, sample index, options in the
    same order, gold letter), were scored by different rules, or were shown different media, unless `other_control` says
    that this is what is compared."""
    if not base or not other:
        raise DataError(f"cannot compare: {base_name if not base else other_name} has no records")
    base_by_key = {record_key(record): record for record in base}
    other_by_key = {record_key(record): record for record in other}
    _refuse_different_questions(base_by_key, other_by_key, base_name, other_name)
    controls = [sorted({record.control for record in run}) for run in (base, other)]
    if controls[0] != controls[1] and not other_control:
        raise DataError(
            f"cannot compare {base_name} and {other_name}: they were not shown the same (control "
            f"{', '.join(controls[0])} and {', '.join(controls[1])}); what vision adds to one model: `sbr controls`"
        )


def _compare_parts(
    level: str, pairs: Sequence[Pair], part_of: Callable[[EvalRecord], str | None]
) -> list[SliceComparison]:
    """The parts of a level in natural order; none when there is only one, which is the level itself."""
    parts: dict[str, list[Pair]] = {}
    for base, other in pairs:
        if (part := part_of(base) or part_of(other)) is not None:
            parts.setdefault(part, []).append((base, other))
    return [_compare_slice(level, name, parts[name]) for name in in_natural_order(parts)] if len(parts) > 1 else []


def _compare_slice(level: str, name: str, pairs: Sequence[Pair]) -> SliceComparison:
    base, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    base_Q, other_Q, videos_Q = _accuracies(base), _accuracies(other), _videos(pairs)
    videos = len(set(videos_Q)) or None
    by_video = clustered_difference(base_Q, other_Q, videos_Q) if videos and videos >= FEWEST else None
    paired = paired_difference(base_Q, other_Q)
    return SliceComparison(level, slice_of(name, base), slice_of(name, other), paired, by_video, videos)


def _videos(pairs: Iterable[Pair]) -> list[str]:
    """The video of every question, in the order of `correct_by_question`; empty when one of them is not known."""
    videos = {(base.level, base.sample_id): base.video_id or other.video_id for base, other in pairs}
    known = [video for video in videos.values() if video is not None]
    return known if len(known) == len(videos) else []


def _accuracies(records: Sequence[EvalRecord]) -> list[float]:
    return question_accuracies(correct_by_question(records))


def _refuse_different_questions(
    base: dict[RecordKey, EvalRecord], other: dict[RecordKey, EvalRecord], base_name: str, other_name: str
) -> None:
    if len(rules := {record.rule for record in (*base.values(), *other.values())}) > 1:
        raise DataError(
            f"cannot compare {base_name} and {other_name}: scored by different rules ({', '.join(sorted(rules))}); "
            "evaluate both with the same --rule"
        )
    if base.keys() != other.keys():
        only_base, only_other = base.keys() - other.keys(), other.keys() - base.keys()
        example = min(only_base | only_other)
        holder = base_name if example in base else other_name
        raise DataError(
            f"cannot compare {base_name} and {other_name}: the question sets differ ({len(only_base)} answers only in "
            f"{base_name}, {len(only_other)} only in {other_name}; e.g. {example.level} {example.sample_id} sample "
            f"{example.sample_index}{f' rotated by {example.rotation}' if example.rotation else ''} only in {holder}); "
            "evaluate both with the same --levels, --limit, --samples and --shuffle-options"
        )
    checks: tuple[tuple[str, Callable[[EvalRecord], object]], ...] = (
        ("options", lambda record: record.options),
        ("gold letter", lambda record: record.gold),
        ("domain", lambda record: record.domain),
        ("video", lambda record: record.video_id),
        ("scenario", lambda record: record.scenario),
        ("groups", lambda record: record.groups or None),
    )
    for key, record in base.items():
        for what, value in checks:
            one, two = value(record), value(other[key])
            # Only video, scenario and groups can be None, in records older than these fields.
            if one != two and None not in (one, two):
                raise DataError(
                    f"cannot compare {base_name} and {other_name}: {key.level} {key.sample_id} has the {what} "
                    f"{one!r} in one and {two!r} in the other; the data was not the same"
                )
