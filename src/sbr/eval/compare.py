"""Two record files of the same questions -> differences per level and domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbr.errors import DataError
from sbr.eval.records import RecordKey, read_records, record_key
from sbr.eval.stats import PairedDifference, paired_difference
from sbr.eval.summary import OVERALL, Slice, correct_by_question, slice_of
from sbr.types import EvalRecord


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """One level or domain of two runs.  Example: level "L1", base 34.8 %, other 46.0 %, difference +11.2 points."""

    level: str
    base: Slice
    other: Slice
    paired: PairedDifference


@dataclass(frozen=True, slots=True)
class Comparison:
    """All levels of two runs, each followed by its domains when it has several."""

    base_name: str
    other_name: str
    rule: str
    slices: tuple[SliceComparison, ...]


def compare_files(base: Path, other: Path, base_name: str, other_name: str) -> Comparison:
    """Compare two records.jsonl; see `compare_records`."""
    return compare_records(read_records(base), read_records(other), base_name, other_name)


def compare_records(
    base: Sequence[EvalRecord], other: Sequence[EvalRecord], base_name: str, other_name: str
) -> Comparison:
    """Paired comparison, question by question.

    Raises DataError when the two runs do not answer the same questions (same level, id, sample index, options in the
    same order, gold letter) or were scored by different rules: such numbers must not be subtracted.
    """
    if not base or not other:
        raise DataError(f"cannot compare: {base_name if not base else other_name} has no records")
    base_by_key = {record_key(record): record for record in base}
    other_by_key = {record_key(record): record for record in other}
    _refuse_different_questions(base_by_key, other_by_key, base_name, other_name)
    pairs = [(record, other_by_key[key]) for key, record in base_by_key.items()]
    slices: list[SliceComparison] = []
    for level in sorted({record.level for record in base}):
        of_level = [pair for pair in pairs if pair[0].level == level]
        slices.append(_compare_slice(level, OVERALL, of_level))
        domains = sorted({record.domain for record, _ in of_level})
        if len(domains) > 1:
            slices += [_compare_slice(level, name, [p for p in of_level if p[0].domain == name]) for name in domains]
    return Comparison(base_name, other_name, base[0].rule, tuple(slices))


def _compare_slice(level: str, name: str, pairs: Sequence[tuple[EvalRecord, EvalRecord]]) -> SliceComparison:
    base, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    paired = paired_difference(_accuracies(base), _accuracies(other))
    return SliceComparison(level, slice_of(name, base), slice_of(name, other), paired)


def _accuracies(records: Sequence[EvalRecord]) -> list[float]:
    return [sum(row) / len(row) for row in correct_by_question(records)]


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
            f"{example.sample_index} only in {holder}); evaluate both with the same --levels, --limit and --samples"
        )
    checks: tuple[tuple[str, Callable[[EvalRecord], object]], ...] = (
        ("options", lambda record: record.options),
        ("gold letter", lambda record: record.gold),
        ("domain", lambda record: record.domain),
    )
    for key, record in base.items():
        for what, value in checks:
            if value(record) != value(other[key]):
                raise DataError(
                    f"cannot compare {base_name} and {other_name}: {key.level} {key.sample_id} has the {what} "
                    f"{value(record)!r} in one and {value(other[key])!r} in the other; the data was not the same"
                )
