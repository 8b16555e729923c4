"""records.jsonl: one EvalRecord a line (`sbr.resume.journal`)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sbr.errors import DataError
from sbr.resume.journal import Journal, LineFormat
from sbr.types import EvalRecord

RECORDS = "records.jsonl"


class RecordKey(NamedTuple):
    """What one record answers; unique in a file.  Example: RecordKey("L1", "115", 0)."""

    level: str
    sample_id: str
    sample_index: int


def record_key(record: EvalRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index)


def _name(key: RecordKey) -> str:
    return f"question {key.sample_id} of {key.level} (sample {key.sample_index})"


_LINES = LineFormat(EvalRecord, record_key, _name)


def record_line(record: EvalRecord) -> str:
    """The record as one line of JSON, line feed included (`LineFormat.line`)."""
    return _LINES.line(record)


def records_file(path: Path) -> Path:
    """The records of `path`: itself, or records.jsonl in it when it is the folder of an evaluation."""
    return path / RECORDS if path.is_dir() else path


def read_records(file: Path) -> list[EvalRecord]:
    """All records of a finished or interrupted run, in the order of the file.

    Raises DataError with file:line on a missing file, a line that is no record (the torn last line of a run that was
    killed, too: run it again first, `RecordFile` repairs it) and on a question that is answered twice.
    """
    try:
        content = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(f"{file} does not exist; `sbr eval` writes it into its output folder") from None
    if content and not content.endswith(b"\n"):
        line = content.count(b"\n") + 1
        raise DataError(f"{file}:{line}: the last line is torn; run the same `sbr eval` again, it continues there")
    return _LINES.parse(content, file)


class RecordFile(Journal[RecordKey, EvalRecord]):
    """The records file of a running evaluation."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, _LINES)
