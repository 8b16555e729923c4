"""Append-only JSONL files of a run: metrics.jsonl and completions.jsonl.  Every line has a "step"."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sbr.train.grpo.metrics import CompletionRecord, StepMetrics
    from sbr.train.sft.metrics import SftMetrics


def append(file: Path, records: Sequence[StepMetrics] | Sequence[SftMetrics] | Sequence[CompletionRecord]) -> None:
    """Add one line per record; when it returns, the lines survive the death of the process."""
    text = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def cut_after(file: Path, step: int) -> int:
    """Drop the lines of steps after `step`, and a last line that a killed process left unfinished.

    Returns the number of dropped lines.  The file is replaced as a whole, so an interruption leaves the old or the new.
    """
    if not file.exists():
        return 0
    lines = list(io.BytesIO(file.read_bytes()))
    # Bytes, because a killed process may leave half a character.
    whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        replacement = file.with_name(f".{file.name}.tmp")
        replacement.write_bytes(b"".join(kept))
        replacement.replace(file)
    return len(lines) - len(kept)
