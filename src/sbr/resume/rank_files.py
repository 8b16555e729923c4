"""Journals of several processes: rank 0 appends to records.jsonl, say, and rank r to records-<r>.jsonl beside it.

The files of other ranks live only while a run lasts.  The next run, or the end of this one, moves their records into
the journal: they are appended there, flushed to the disk, and then the file is deleted.  So a kill at any moment leaves
every finished record in one of the files, and one that is in two of them is the same line twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from sbr.errors import DataError
from sbr.resume.journal import Journal

KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT")


def rank_file(journal: Path, rank: int) -> Path:
    """Where rank 1, 2, ... writes its records.

    >>> rank_file(Path("run/records.jsonl"), 2).name
    'records-2.jsonl'
    """
    return journal.with_name(f"{journal.stem}-{rank}{journal.suffix}")


def rank_files(journal: Path) -> list[Path]:
    """Files of the processes of an unfinished run, in the order of their ranks."""
    name = re.compile(rf"{re.escape(journal.stem)}-[1-9][0-9]*{re.escape(journal.suffix)}")
    files = [file for file in journal.parent.glob(f"{journal.stem}-*") if name.fullmatch(file.name)]
    return sorted(files, key=lambda file: (len(file.name), file.name))


def collect(journal: Journal[KeyT, RecordT]) -> None:
    """Move the records of all rank files beside `journal` into it.

    Raises BusyError when a process is still writing one of them, DataError when one is damaged, or when it has another
    record of the same key than `journal`.
    """
    for file in rank_files(journal.file):
        with Journal(file, journal.lines) as part:
            for key, record in part.done.items():
                if journal.done.get(key, record) != record:
                    raise DataError(
                        f"{file} and {journal.file} answer {journal.lines.name(key)} differently; "
                        "they are not of one run: start in a new folder"
                    )
            journal.append([record for key, record in part.done.items() if key not in journal.done])
            file.unlink()


class LineCount:
    """Counts the lines of the rank files beside a journal as they grow; what was counted is not read again."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._read: dict[Path, tuple[int, int]] = {}
        """File -> bytes read, lines found in them."""

    def read(self) -> int:
        for file in rank_files(self._journal):
            offset, lines = self._read.get(file, (0, 0))
            with file.open("rb") as stream:
                stream.seek(offset)
                new = stream.read()
            self._read[file] = offset + len(new), lines + new.count(b"\n")
        return sum(lines for _, lines in self._read.values())
