"""Append-only JSONL: one record a line, appended batch by batch, readable after kill -9.

A line counts only with its line feed.  What a killed run left behind it is cut off before the next run appends, and
that piece of work is done again; everything else that is wrong with the file is an error with its line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, asdict, fields
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from sbr.data.rows.jsonl import shown
from sbr.errors import BusyError, DataError, RowProblem
from sbr.files import read_file, replace_file, writing
from sbr.resume.lock import hold

KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT")

MOST_BYTES = 1 << 31
"""Of a file that is read whole: about a million answers."""
_ADVICE = "the file was changed by hand or is damaged; start in a new folder"


class Wrong(NamedTuple):
    """A field of a record that does not follow from the others."""

    field: str
    expected: str
    found: str


class LineFormat(Generic[KeyT, RecordT]):
    """How records of one dataclass are written as lines, read back, and told apart.

    `key` tells what a record answers, unique in a file; `name` says it in words: "question 115 of L1 (sample 0)".
    `wrong` finds what a changed file shows: a value that does not follow from the others.
    """

    def __init__(
        self,
        kind: type[RecordT],
        key: Callable[[RecordT], KeyT],
        name: Callable[[KeyT], str],
        wrong: Callable[[RecordT], Wrong | None] = lambda _: None,
    ) -> None:
        self.key = key
        self.name = name
        self._wrong = wrong
        self._adapter: TypeAdapter[RecordT] = TypeAdapter(kind)
        members = fields(kind)  # pyright: ignore[reportArgumentType]  # a dataclass, which `type[RecordT]` cannot say
        self._keys = frozenset(field.name for field in members)
        self._defaults = {field.name: field.default for field in members if field.default is not MISSING}
        self._required = self._keys - self._defaults.keys()

    def line(self, record: RecordT) -> str:
        """The record as one line of JSON, line feed included.

        A key that is not required is left out at its default, so older records are written as they were read.
        """
        values: dict[str, Any] = asdict(record)  # pyright: ignore[reportArgumentType]
        values = {key: value for key, value in values.items() if key in self._required or value != self._defaults[key]}
        return json.dumps(values, ensure_ascii=False) + "\n"

    def parse(self, content: bytes, file: Path) -> list[RecordT]:
        """All whole lines.  Raises DataError with file:line on one that is no record or repeats a key."""
        records: list[RecordT] = []
        first_line: dict[KeyT, int] = {}
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            record = self._parse_line(line, f"{file}:{number}")
            if found := self._wrong(record):
                raise DataError(f"{RowProblem(file, number, *found)}; {_ADVICE}")
            key = self.key(record)
            if key in first_line:
                raise DataError(
                    f"{file}:{number}: {self.name(key)} is already answered in line {first_line[key]}; "
                    "delete one of the two lines, or start in a new folder"
                )
            first_line[key] = number
            records.append(record)
        return records

    def _parse_line(self, line: bytes, where: str) -> RecordT:
        try:
            values = json.loads(line)
            keys: Iterable[str] = values if isinstance(values, dict) else ()
            if wrong := sorted((self._required - set(keys)) | (set(keys) - self._keys)):
                state = ", ".join(f"{key} {'is missing' if key in self._keys else 'is unknown'}" for key in wrong)
                raise DataError(f"{where}: not a record: {state}; {_ADVICE}")
            return self._adapter.validate_json(line, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise DataError(f"{where}: {key} is {shown(problem['input'])}: {problem['msg']}; {_ADVICE}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON: {error}; {_ADVICE}") from None


class Journal(Generic[KeyT, RecordT]):
    """The file of a running piece of work: what is already there, and safe appending.

    with Journal(folder / "records.jsonl", FORMAT) as journal:
        journal.done        # {key: record} read on entering, a torn last line cut off
        journal.append([...])

    The file is locked while it is open, so that two runs cannot write into it; it is made by the first record.
    Raises DataError as `LineFormat.parse` does, BusyError when another process holds the file or has just replaced it.
    """

    def __init__(self, file: Path, lines: LineFormat[KeyT, RecordT]) -> None:
        self.file = file
        self.lines = lines
        self.done: dict[KeyT, RecordT] = {}
        self._stream: FileIO | None = None

    def __enter__(self) -> Self:
        if not self.file.exists():
            return self
        stream = self._open("r+b")
        try:
            content = read_file(self.file, MOST_BYTES, "start in a new folder")
            whole = content.rfind(b"\n") + 1
            records = self.lines.parse(content[:whole], self.file)
            if whole < len(content):  # cut to the last line feed; one system call, so it happens or does not
                os.ftruncate(stream.fileno(), whole)
                os.fsync(stream.fileno())
            stream.seek(whole)
        except BaseException:
            self.__exit__()
            raise
        self.done = {self.lines.key(record): record for record in records}
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def append(self, records: Sequence[RecordT]) -> None:
        """Write `records` and wait until they are on the disk."""
        for record in records:
            key = self.lines.key(record)
            if key in self.done:
                raise DataError(f"{self.file}: {self.lines.name(key)} would be answered twice")
            self.done[key] = record
        if not records:
            return
        if self._stream is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        stream = self._stream or self._open("xb")
        left = memoryview("".join(self.lines.line(record) for record in records).encode("utf-8"))
        with writing(self.file):
            while left:
                left = left[stream.write(left) :]
            os.fsync(stream.fileno())

    def rewrite(self, records: Sequence[RecordT]) -> None:
        """Replace the whole file by `records`, at once: it is the old one or the new one, also after kill -9.

        Nothing can be appended afterwards.
        """
        replace_file(self.file, "".join(self.lines.line(record) for record in records).encode("utf-8"))
        self.__exit__()
        self.done = {self.lines.key(record): record for record in records}

    def _open(self, mode: Literal["r+b", "xb"]) -> FileIO:
        """The locked stream.  Made anew ("xb"): what another process wrote since we looked has not been read."""
        try:
            stream = self.file.open(mode, buffering=0)  # nothing is left to be flushed when the disk is full
        except FileExistsError:
            raise BusyError(f"another process has just made {self.file}; run the same command again") from None
        if not hold(stream, self.file):
            stream.close()
            raise BusyError(
                f"another process is writing {self.file}, or has just finished with it; wait for it and run the same "
                "command again, or choose another folder"
            )
        self._stream = stream
        return stream
