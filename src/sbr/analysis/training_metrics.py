"""metrics.jsonl of a training run, finished or still running -> TrainingMetrics.  Imports nothing heavy.

What the figures mean is said where they are made: `sbr.train.grpo.metrics`, `sbr.train.sft.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sbr.data.rows.jsonl import parse_lines, shown
from sbr.errors import ConfigError, DataError, RowProblem
from sbr.files import read_file
from sbr.resume.folder import RECIPE, read_json
from sbr.resume.journal import MOST_BYTES
from sbr.train.run_folder import COLD_START, FINAL, METRICS

Kind = Literal["GRPO", "SFT"]
_ADVICE = "the file was changed by hand or is damaged; restore it, or leave this run out"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingMetrics:
    """What one training run has logged so far.  n lines.

    Example: TrainingMetrics(Path("runs/grpo"), "GRPO", {"algo": ...}, (1, 2, 3), {"reward_mean": (0.4, 0.5, 0.45),
    "validation_accuracy/L1": (None, None, 0.6), ...}, torn=False, finished=True).
    """

    folder: Path
    kind: Kind
    recipe: Mapping[str, Any]
    """As in recipe.json."""
    steps: tuple[int, ...]
    """n, rising; a run that lost lines lacks some."""
    values: Mapping[str, tuple[float | None, ...]]
    """Key -> n values as logged; {"custom": {"a": 0.4}} as custom/a.  None: null, or not in that line."""
    torn: bool
    """A last line without its end was left out: the run is writing it, or was killed while it did."""
    finished: bool
    """There is a final model."""

    @property
    def missing(self) -> int:
        """Steps before the last one that have no line."""
        return self.steps[-1] - len(self.steps)


def read_metrics(folder: Path) -> TrainingMetrics:
    """The metrics of the training run in `folder`; of a GRPO run after a cold start those of GRPO alone.

    Raises ConfigError when `folder` is not that of a training run; DataError when nothing is logged yet, and with
    file:line for a line that is no record, lacks what the first one has, or does not follow the one before.
    """
    advice = "give the folder of a run of `sbr grpo` or `sbr sft`"
    if not (folder / RECIPE).is_file():
        raise ConfigError(f"{folder} is not the folder of a training run: there is no {RECIPE}; {advice}")
    recipe = read_json(folder / RECIPE, advice)
    if "train" not in recipe:
        raise ConfigError(f"{folder} is not the folder of a training run: its {RECIPE} has no section train; {advice}")
    file = folder / METRICS
    if not file.exists():
        raise DataError(f"{file} does not exist: the run has not taken a step yet; look again later")
    content = read_file(file, MOST_BYTES, advice)
    whole = content.rfind(b"\n") + 1
    steps, rows = _parse(content[:whole], file)
    if not steps:
        raise DataError(f"{file} holds no whole line: the run has not taken a step yet; look again later")
    keys = dict.fromkeys(key for row in rows for key in row)
    return TrainingMetrics(
        folder=folder,
        kind="GRPO" if "algo" in recipe else "SFT",
        recipe=recipe,
        steps=tuple(steps),
        values={key: tuple(row.get(key) for row in rows) for key in keys},
        torn=whole < len(content),
        finished=(folder / FINAL).is_dir(),
    )


def with_cold_starts(runs: Mapping[str, Path]) -> dict[str, Path]:
    """`runs`, each preceded by its cold start where it has one that has logged: {"grpo, cold start": grpo/cold_start,
    "grpo": grpo}.  A run that is still in its cold start has no metrics of its own and is left out."""
    found: dict[str, Path] = {}
    for name, folder in runs.items():
        cold = folder / COLD_START
        if (cold / METRICS).exists():
            found[f"{name}, cold start"] = cold
        if (folder / METRICS).exists() or not (cold / METRICS).exists():
            found[name] = folder
    return found


def _parse(content: bytes, file: Path) -> tuple[list[int], list[dict[str, float | None]]]:
    """The step of every line, and its values by flat keys."""
    steps: list[int] = []
    rows: list[dict[str, float | None]] = []
    expected: dict[str, Any] = {}
    for line in parse_lines(file, content.splitlines(keepends=True)):
        if line.values is None:
            raise DataError(f"{line.problem}; {_ADVICE}")
        values = dict(line.values)
        expected = expected or values
        if lacking := next((key for key in expected if key not in values), None):
            raise DataError(f"{file}:{line.number}: {lacking} is missing, line 1 has it; {_ADVICE}")
        step = values.pop("step", None)
        if not isinstance(step, int) or isinstance(step, bool) or step <= (steps[-1] if steps else 0):
            after = f"a number after {steps[-1]}" if steps else "a number from 1"
            raise DataError(f"{RowProblem(file, line.number, 'step', after, shown(step))}; {_ADVICE}")
        steps.append(step)
        rows.append(dict(_flat(values, file, line.number)))
    return steps, rows


def _flat(values: Mapping[str, Any], file: Path, line: int) -> Iterator[tuple[str, float | None]]:
    for key, value in values.items():
        parts = {f"{key}/{name}": part for name, part in value.items()} if isinstance(value, dict) else {key: value}
        for name, part in parts.items():
            if part is not None and (isinstance(part, bool) or not isinstance(part, int | float)):
                raise DataError(f"{RowProblem(file, line, name, 'a number or null', shown(part))}; {_ADVICE}")
            yield name, None if part is None else _float(part)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer with hundreds of digits
        return float("inf")
