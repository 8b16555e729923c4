"""Append-only JSONL files of a run: metrics.jsonl and completions.jsonl.  Every line has a "step"."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbr.errors import CheckpointError, NotFiniteError
from sbr.files import replace_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def append(file: Path, records: Sequence[DataclassInstance]) -> None:
    """Add one line per record; when it returns, the lines survive the death of the process."""
    text = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


@contextmanager
def kept_if_broken(
    folder: Path, step: int, process: int, records: Callable[[], Sequence[DataclassInstance]]
) -> Iterator[None]:
    """When a gradient inside is not finite, write what the step learned from into `folder`, and name the file."""
    try:
        yield
    except NotFiniteError as error:
        file = folder / f"not_finite_step_{step}_process_{process}.jsonl"
        append(file, records())
        raise NotFiniteError(f"{error}.  What this process learned from in that step lies in {file}") from None


def steps(file: Path) -> list[int]:
    """Return the step of every whole line; a last line that a killed process left unfinished does not count.

    Raises CheckpointError, with file:line, for a line that is no record or stands behind a later step.
    """
    found: list[int] = []
    for number, line in enumerate(_whole_lines(file), start=1):
        try:
            values: Any = json.loads(line)
        except ValueError:
            values = None
        step = values.get("step") if isinstance(values, dict) else None
        if not isinstance(step, int) or (found and step < found[-1]):
            problem = "not a record of this run" if not isinstance(step, int) else f"step {step} follows {found[-1]}"
            raise CheckpointError(
                f"{file}:{number}: {problem}; the file was changed by hand or is damaged: restore it, or remove this "
                "line, and resume again"
            )
        found.append(step)
    return found


def lines(file: Path, step: int) -> list[dict[str, Any]]:
    """The whole lines up to `step`, none of a file that is not there.  Raises as `steps` does."""
    kept = sum(number <= step for number in steps(file))
    return [json.loads(line) for line in _whole_lines(file)[:kept]]


def record(file: Path, step: int) -> dict[str, Any] | None:
    """The values of the line of `step`; None when there is none.  Raises as `steps` does."""
    found = steps(file)
    return json.loads(_whole_lines(file)[found.index(step)]) if step in found else None


def cut_after(file: Path, step: int) -> None:
    """Drop the lines of steps after `step`, and a last line that a killed process left unfinished.

    The file is replaced as a whole, so an interruption leaves the old or the new.  Raises as `steps` does.
    """
    kept = sum(number <= step for number in steps(file))
    content = b"".join(_whole_lines(file)[:kept])
    if file.exists() and len(content) < file.stat().st_size:
        replace_file(file, content)


def _whole_lines(file: Path) -> list[bytes]:
    # Bytes, because a killed process may leave half a character.
    lines = list(io.BytesIO(file.read_bytes())) if file.exists() else []
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def numbers(metrics: DataclassInstance) -> dict[str, float]:
    """Return what trackers take: every field but the step, without nulls; {"custom": {"a": 0.4}} as custom/a."""
    found: dict[str, float] = {}
    for field in fields(metrics):
        value = getattr(metrics, field.name)
        parts = value if isinstance(value, dict) else {"": value}
        names = {f"{field.name}/{key}".removesuffix("/"): part for key, part in parts.items()}
        found |= {name: float(part) for name, part in names.items() if part is not None and name != "step"}
    return found
