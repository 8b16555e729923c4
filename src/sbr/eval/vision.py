"""Runs with and without their media -> what part of a score is vision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbr.errors import ConfigError
from sbr.eval.compare import Comparison, compare_records
from sbr.eval.summary import OVERALL, Slice, slice_of
from sbr.types import EvalRecord


@dataclass(frozen=True, slots=True)
class LevelVision:
    """One level.  Example: chance 0.25, accuracies {"blind": 29.1 %, "no_video": 36.0 %, "none": 40.7 %} as slices."""

    level: str
    chance: float
    """Accuracy of guessing: mean of 1 / number of options."""
    accuracies: Mapping[str, Slice]
    """By control, least shown first."""


@dataclass(frozen=True, slots=True)
class Vision:
    """One model with everything shown beside the same questions with less."""

    levels: tuple[LevelVision, ...]
    gains: tuple[Comparison, ...]
    """From each control to the full run: what showing the rest adds, paired by question; whole levels only."""


def vision_share(runs: Mapping[str, Sequence[EvalRecord]]) -> Vision | None:
    """`runs`: records by name, of one model; each run has one control.  None when no run shows less than all.

    Of two runs with the same control, one with rotated options, the other one is taken.  Where only some of the runs
    taken rotated the options, the order of the benchmark alone is compared.  Raises ConfigError when no run shows all,
    or two that are alike are given, DataError as `compare_records`.
    """
    names: dict[tuple[str, bool], str] = {}
    for name, records in runs.items():
        controls = sorted({record.control for record in records})
        if len(controls) != 1:
            raise ConfigError(f"{name} mixes the controls {', '.join(controls) or '(it has no records)'}")
        kind = (controls[0], any(record.rotation for record in records))
        if kind in names:
            raise ConfigError(
                f"{names[kind]} and {name} both have the control {controls[0]!r}; give one run of each: "
                "all shown, --no-video, --blind"
            )
        names[kind] = name
    by_control = {control: name for (control, _), name in sorted(names.items(), reverse=True)}  # False wins
    if by_control.keys() == {"none"}:
        return None
    if "none" not in by_control:
        raise ConfigError("none of these runs shows video and image; give the ordinary evaluation too")
    rotated = all(names.get((control, True)) == name for control, name in by_control.items())
    asked = {
        control: [record for record in runs[by_control[control]] if rotated or record.rotation == 0]
        for control in ("blind", "no_video", "none")
        if control in by_control
    }
    full = asked["none"]
    gains = tuple(
        compare_records(records, full, by_control[control], by_control["none"], other_control=True, whole_levels=True)
        for control, records in asked.items()
        if control != "none"
    )
    return Vision(tuple(_level(level, asked) for level in sorted({record.level for record in full})), gains)


def _level(level: str, asked: Mapping[str, Sequence[EvalRecord]]) -> LevelVision:
    of_level = {control: [r for r in records if r.level == level] for control, records in asked.items()}
    options = {record.sample_id: len(record.options) for record in of_level["none"]}
    return LevelVision(
        level=level,
        chance=sum(1 / count for count in options.values()) / len(options),
        accuracies={control: slice_of(OVERALL, records) for control, records in of_level.items()},
    )
