"""records.jsonl: one EvalRecord a line, appended batch by batch, readable after kill -9.

A line counts only with its line feed.  What a killed run left behind it is cut off before the next run appends, and
that question is asked again; everything else that is wrong with the file is an error with its line.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import TypeAdapter, ValidationError

from sbr.errors import DataError
from sbr.types import EvalRecord

RECORDS = "records.jsonl"

_ADAPTER = TypeAdapter(EvalRecord)
_KEYS = frozenset(field.name for field in fields(EvalRecord))
_DEFAULTS = {field.name: field.default for field in fields(EvalRecord) if field.default is not MISSING}
_REQUIRED = _KEYS - _DEFAULTS.keys()


class RecordKey(NamedTuple):
    """What one record answers; unique in a file.  Example: RecordKey("L1", "115", sample_index=0, rotation=0)."""

    level: str
    sample_id: str
    sample_index: int
    rotation: int = 0


def record_key(record: EvalRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)


def record_line(record: EvalRecord) -> str:
    """The record as one line of JSON, line feed included.

    A key that is not required is left out at its default, so older records are written as they were read.
    """
    values = {key: value for key, value in asdict(record).items() if key in _REQUIRED or value != _DEFAULTS[key]}
    return json.dumps(values, ensure_ascii=False) + "\n"


def records_file(path: Path) -> Path:
    """The records of `path`: itself, or records.jsonl in it when it is the folder of an evaluation.

    Raises DataError when several processes have not yet put their answers together there.
    """
    if not path.is_dir():
        return path
    if parts := part_files(path):
        raise DataError(
            f"{parts[0]} holds answers that are not yet in {RECORDS}; the evaluation is running or was interrupted: "
            "run the same `sbr eval` again (the number of processes may differ)"
        )
    return path / RECORDS


def part_files(folder: Path) -> list[Path]:
    """Files of the processes of an unfinished evaluation (eval.parts), in the order of their ranks."""
    return sorted(folder.glob("records-[1-9]*.jsonl"), key=lambda file: (len(file.name), file.name))


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
    return _parse(content, file)


def correct_by_question(records: Sequence[EvalRecord]) -> list[list[list[bool]]]:
    """correct_QRK: is the answer right?  Questions in order of first appearance, rotations of the options, samples.

    There is one rotation, or, when the options were rotated, as many as the question has options.  Raises DataError
    when a question lacks some of its rotations or of the samples 0 .. k-1.
    """
    rows: dict[tuple[str, str], dict[tuple[int, int], bool]] = {}
    options: dict[tuple[str, str], int] = {}
    for record in records:
        question = (record.level, record.sample_id)
        rows.setdefault(question, {})[record.rotation, record.sample_index] = record.correct
        options[question] = len(record.options)
    rotated = any(record.rotation for record in records)
    samples = len({index for _, index in next(iter(rows.values()))})
    for (level, sample_id), row in rows.items():
        rotations = options[level, sample_id] if rotated else 1
        wanted = {(rotation, index) for rotation in range(rotations) for index in range(samples)}
        if row.keys() != wanted:
            found = f"the samples {sorted({index for _, index in row})}, expected 0 to {samples - 1}"
            if rotated:
                found = f"{len(row)} answers, expected {rotations} rotations with the samples 0 to {samples - 1}"
            raise DataError(
                f"question {sample_id} of {level} has {found}; run the same `sbr eval` again to complete the records"
            )
    return [
        [[row[rotation, index] for index in range(samples)] for rotation in range(len(row) // samples)]
        for row in rows.values()
    ]


class RecordFile:
    """The records file of a running evaluation: what is already there, and safe appending.

    with RecordFile(folder / "records.jsonl") as records:
        records.done        # {RecordKey: EvalRecord} read on entering, a torn last line cut off
        records.append([...])

    The file is locked while it is open, so that two runs cannot write into one folder.
    Raises DataError as `read_records` does, and when another process holds the file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.done: dict[RecordKey, EvalRecord] = {}

    def __enter__(self) -> Self:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.file.open("a+b")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise DataError(f"another process is writing {self.file}; wait for it or choose another folder") from None
        try:
            self._refuse_replaced_file()
            self._cut_torn_line()
            self._stream.seek(0)
            self.done = {record_key(record): record for record in _parse(self._stream.read(), self.file)}
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stream.close()

    def append(self, records: Sequence[EvalRecord]) -> None:
        """Write `records` and wait until they are on the disk."""
        for record in records:
            key = record_key(record)
            if key in self.done:
                raise DataError(f"{self.file}: {_name(key)} would be answered twice")
            self.done[key] = record
        self._stream.write("".join(record_line(record) for record in records).encode("utf-8"))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _refuse_replaced_file(self) -> None:
        """The file may have been moved or deleted by who held the lock when we opened it."""
        held = os.fstat(self._stream.fileno())
        if not self.file.exists() or not os.path.samestat(held, self.file.stat()):
            raise DataError(f"another process has just finished {self.file}; start again")

    def _cut_torn_line(self) -> None:
        """Shorten the file to its last line feed; one system call, so it happens or does not."""
        self._stream.seek(0)
        content = self._stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._stream.fileno(), whole)
            os.fsync(self._stream.fileno())


def _parse(content: bytes, file: Path) -> list[EvalRecord]:
    records: list[EvalRecord] = []
    first_line: dict[RecordKey, int] = {}
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        record = _parse_line(line, f"{file}:{number}")
        key = record_key(record)
        if key in first_line:
            raise DataError(
                f"{file}:{number}: {_name(key)} is already answered in line {first_line[key]}; "
                "delete one of the two lines, or start in a new folder"
            )
        first_line[key] = number
        records.append(record)
    return records


def _parse_line(line: bytes, where: str) -> EvalRecord:
    advice = "the file was changed by hand or is damaged; start in a new folder"
    try:
        values = json.loads(line)
        keys: Iterable[str] = values if isinstance(values, dict) else ()
        if wrong := sorted((_REQUIRED - set(keys)) | (set(keys) - _KEYS)):
            state = ", ".join(f"{key} {'is missing' if key in _KEYS else 'is unknown'}" for key in wrong)
            raise DataError(f"{where}: not a record: {state}; {advice}")
        return _ADAPTER.validate_json(line, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{where}: {key} is {problem['input']!r}: {problem['msg']}; {advice}") from None
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}; {advice}") from None


def _name(key: RecordKey) -> str:
    rotated = f", options rotated by {key.rotation}" if key.rotation else ""
    return f"question {key.sample_id} of {key.level} (sample {key.sample_index}{rotated})"
