"""Records -> Summary: accuracy with its interval and the rates of health, per level and per domain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sbr.config.recipes import EvalRecipe
from sbr.config.section import Control
from sbr.errors import DataError
from sbr.eval.letters import LetterBias, Rotations, letter_bias, rotations_of
from sbr.eval.records import correct_by_question
from sbr.eval.stats import Interval, MeanSpread, clustered_wilson_interval, mean_and_sd
from sbr.files import replace_file
from sbr.reward.health import health
from sbr.types import EvalRecord

OVERALL = "Overall"
"""Name of the slice that holds all questions of a level."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The figures of one domain or group of a level, or of the whole level.

    Example, one greedy answer a question: Slice(name="Overall", questions=2432, samples=1, correct=1119,
    accuracy=0.4601, interval=Interval(0.4404, 0.4800), over_samples=MeanSpread(0.4601, None, 1), ...).
    """

    name: str
    questions: int
    samples: int
    """Answers a question (to each rotation of its options); every question has the same number."""
    correct: int
    """Right answers, of all samples and rotations."""
    accuracy: float
    """Mean over the questions of the share of right answers."""
    interval: Interval
    """95 %: Wilson; with several answers a question, Wilson with the effective sample size
    (stats.clustered_wilson_interval)."""
    over_samples: MeanSpread
    """Mean and standard deviation of the accuracies of the first, second, ... sample of every question."""
    truncated_rate: float
    format_rate: float
    echo_rate: float
    """Share of responses whose reasoning is empty or only a letter (reward.health)."""
    mean_completion_tokens: float | None
    """Over the answers whose length is known; None when none is."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """A level cut by one of the names in EvalRecord.groups, e.g. "duration" into "(8,15]", "(15,60]" and so on."""

    name: str
    parts: tuple[Slice, ...]
    """In natural order: (8,15] stands before (15,60]."""


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One level: all its questions, and each domain and scenario in alphabetical order."""

    level: str
    overall: Slice
    domains: tuple[Slice, ...]
    scenarios: tuple[Slice, ...] = ()
    """Only what the records name: L3 has scenarios, L1 and L2 have none."""
    groups: tuple[Grouping, ...] = ()
    """LongVideoBench: by duration, level and category."""
    letters: LetterBias | None = None
    """None in summaries that are older than this field."""
    rotations: Rotations | None = None
    """With eval.shuffle_options only."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one evaluation found; summary.json holds these fields."""

    model: str
    protocol: str
    rule: str
    samples: int
    seed: int
    max_new_tokens: int
    seconds: float
    """Time spent on encoding and generating, over all records (also those of earlier, interrupted runs)."""
    levels: tuple[LevelSummary, ...]
    control: Control = "none"
    shuffle_options: bool = False


def summarize(records: Sequence[EvalRecord], recipe: EvalRecipe) -> Summary:
    """Summary of a complete set of records; levels come in the recipe's order.

    Raises DataError when a level of the recipe has no records or a question lacks some of its samples.
    """
    by_level = {level: [record for record in records if record.level == level] for level in recipe.eval.levels}
    return Summary(
        model=recipe.model.path,
        protocol=recipe.eval.protocol,
        rule=recipe.eval.rule,
        samples=recipe.eval.samples,
        seed=recipe.eval.seed,
        max_new_tokens=recipe.eval.max_new_tokens,
        seconds=sum(record.seconds for record in records),
        levels=tuple(level_summary(level, of_level) for level, of_level in by_level.items()),
        control=recipe.eval.control,
        shuffle_options=recipe.eval.shuffle_options,
    )


def level_summary(level: str, records: Sequence[EvalRecord]) -> LevelSummary:
    """Figures of one level; `records` are all of this level."""
    domains = sorted({record.domain for record in records})
    scenarios = sorted({record.scenario for record in records if record.scenario is not None})
    return LevelSummary(
        level=level,
        overall=slice_of(OVERALL, records),
        domains=tuple(slice_of(name, [record for record in records if record.domain == name]) for name in domains),
        scenarios=tuple(
            slice_of(name, [record for record in records if record.scenario == name]) for name in scenarios
        ),
        groups=tuple(
            Grouping(name, tuple(slice_of(part, of_part) for part, of_part in parts.items()))
            for name, parts in by_group(records).items()
        ),
        letters=letter_bias(records),
        rotations=rotations_of(records),
    )


def by_group(records: Sequence[EvalRecord]) -> dict[str, dict[str, list[EvalRecord]]]:
    """{"duration": {"(8,15]": [...], "(15,60]": [...]}, ...}: names as records have them, parts in natural order."""
    found: dict[str, dict[str, list[EvalRecord]]] = {}
    for record in records:
        for name, part in record.groups:
            found.setdefault(name, {}).setdefault(part, []).append(record)
    return {name: {part: parts[part] for part in in_natural_order(parts)} for name, parts in found.items()}


def levels_of(records: Sequence[EvalRecord]) -> tuple[LevelSummary, ...]:
    """Figures of every level that the records hold, in alphabetical order.  Raises DataError when there are none."""
    if not records:
        raise DataError("no records: nothing was asked")
    levels = sorted({record.level for record in records})
    return tuple(level_summary(level, [record for record in records if record.level == level]) for level in levels)


def slice_of(name: str, records: Sequence[EvalRecord]) -> Slice:
    """Figures of any set of records in which every question has the same samples (and all rotations, if any)."""
    if not records:
        raise DataError(f"no records for {name}: nothing was asked")
    correct_QRK = correct_by_question(records)
    accuracies_Q = question_accuracies(correct_QRK)
    accuracies_QK = [[_mean(column) for column in zip(*rows, strict=True)] for rows in correct_QRK]
    flags = [health(record.response) for record in records]
    lengths = [record.completion_tokens for record in records if record.completion_tokens is not None]
    return Slice(
        name=name,
        questions=len(correct_QRK),
        samples=len(accuracies_QK[0]),
        correct=sum(record.correct for record in records),
        accuracy=_mean(accuracies_Q),
        interval=clustered_wilson_interval(accuracies_Q, len(records) / len(correct_QRK)),
        over_samples=mean_and_sd([_mean(column) for column in zip(*accuracies_QK, strict=True)]),
        truncated_rate=_mean([record.truncated for record in records]),
        format_rate=_mean([flag.formatted for flag in flags]),
        echo_rate=_mean([flag.echo for flag in flags]),
        mean_completion_tokens=_mean(lengths) if lengths else None,
    )


def question_accuracies(correct_QRK: Sequence[Sequence[Sequence[bool]]]) -> list[float]:
    """The share of right answers of every question, over its rotations and samples."""
    return [sum(map(sum, rows)) / sum(map(len, rows)) for rows in correct_QRK]


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Alphabetical, with digits read as numbers.

    >>> in_natural_order(["(15,60]", "(180,600]", "(8,15]"])
    ['(8,15]', '(15,60]', '(180,600]']
    """
    return sorted(names, key=lambda name: [(p.isdecimal() and int(p), p) for p in re.split(r"(\d+)", name)])


def write_summary(summary: Summary, file: Path) -> None:
    """summary.json, written whole or not at all."""
    replace_file(file, (json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n").encode())


def read_summary(file: Path) -> Summary:
    """Raises DataError when the file is missing or is not a summary."""
    try:
        return TypeAdapter(Summary).validate_json(file.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(f"{file} does not exist; `sbr eval` writes it when all questions are answered") from None
    except ValidationError as error:
        raise DataError(f"{file} is not a summary of `sbr eval`: {error.errors()[0]['msg']}") from None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
