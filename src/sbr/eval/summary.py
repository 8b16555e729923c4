"""Records -> Summary: accuracy with its interval and the rates of health, per level and per domain."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sbr.config import EvalRecipe
from sbr.errors import DataError
from sbr.eval.stats import Interval, MeanSpread, clustered_wilson_interval, mean_and_sd
from sbr.reward.health import health
from sbr.types import EvalRecord

OVERALL = "Overall"
"""Name of the slice that holds all questions of a level."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The figures of one domain of a level, or of the whole level.

    Example, one greedy answer a question: Slice(name="Overall", questions=2432, samples=1, correct=1119,
    accuracy=0.4601, interval=Interval(0.4404, 0.4800), over_samples=MeanSpread(0.4601, None, 1), ...).
    """

    name: str
    questions: int
    samples: int
    """Answers a question; every question has the same number."""
    correct: int
    """Right answers out of questions * samples."""
    accuracy: float
    interval: Interval
    """95 %: Wilson; with several samples, Wilson with the effective sample size (stats.clustered_wilson_interval)."""
    over_samples: MeanSpread
    """Mean and standard deviation of the accuracies of the first, second, ... sample of every question."""
    truncated_rate: float
    format_rate: float
    echo_rate: float
    """Share of responses whose reasoning is empty or only a letter (reward.health)."""
    mean_completion_tokens: float | None
    """Over the answers whose length is known; None when none is."""


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One level: all its questions, and each domain and scenario in alphabetical order."""

    level: str
    overall: Slice
    domains: tuple[Slice, ...]
    scenarios: tuple[Slice, ...] = ()
    """Only what the records name: L3 has scenarios, L1 and L2 have none."""


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
    )


def levels_of(records: Sequence[EvalRecord]) -> tuple[LevelSummary, ...]:
    """Figures of every level that the records hold, in alphabetical order.  Raises DataError when there are none."""
    if not records:
        raise DataError("no records: nothing was asked")
    levels = sorted({record.level for record in records})
    return tuple(level_summary(level, [record for record in records if record.level == level]) for level in levels)


def slice_of(name: str, records: Sequence[EvalRecord]) -> Slice:
    """Figures of any set of records in which every question has the same sample indices 0 .. k-1."""
    if not records:
        raise DataError(f"no records for {name}: nothing was asked")
    correct_QK = correct_by_question(records)
    samples = len(correct_QK[0])
    flags = [health(record.response) for record in records]
    lengths = [record.completion_tokens for record in records if record.completion_tokens is not None]
    return Slice(
        name=name,
        questions=len(correct_QK),
        samples=samples,
        correct=sum(map(sum, correct_QK)),
        accuracy=sum(map(sum, correct_QK)) / len(records),
        interval=clustered_wilson_interval([sum(row) / samples for row in correct_QK], samples),
        over_samples=mean_and_sd([sum(column) / len(correct_QK) for column in zip(*correct_QK, strict=True)]),
        truncated_rate=_mean([record.truncated for record in records]),
        format_rate=_mean([flag.formatted for flag in flags]),
        echo_rate=_mean([flag.echo for flag in flags]),
        mean_completion_tokens=_mean(lengths) if lengths else None,
    )


def correct_by_question(records: Sequence[EvalRecord]) -> list[list[bool]]:
    """One row a question (in order of first appearance), one column a sample index: is the answer right?

    Raises DataError when the questions do not all have the samples 0 .. k-1.
    """
    rows: dict[tuple[str, str], dict[int, bool]] = {}
    for record in records:
        rows.setdefault((record.level, record.sample_id), {})[record.sample_index] = record.correct
    samples = len(next(iter(rows.values())))
    for (level, sample_id), row in rows.items():
        if sorted(row) != list(range(samples)):
            raise DataError(
                f"question {sample_id} of {level} has the samples {sorted(row)}, expected 0 to {samples - 1}; "
                "run the same `sbr eval` again to complete the records"
            )
    return [[row[index] for index in range(samples)] for row in rows.values()]


def write_summary(summary: Summary, file: Path) -> None:
    """summary.json, written whole or not at all."""
    write_atomically(file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")


def read_summary(file: Path) -> Summary:
    """Raises DataError when the file is missing or is not a summary."""
    try:
        return TypeAdapter(Summary).validate_json(file.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(f"{file} does not exist; `sbr eval` writes it when all questions are answered") from None
    except ValidationError as error:
        raise DataError(f"{file} is not a summary of `sbr eval`: {error.errors()[0]['msg']}") from None


def write_atomically(file: Path, text: str) -> None:
    """Write a text file so that a reader, or a killed run, never sees half of it."""
    temporary = file.with_name(file.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
