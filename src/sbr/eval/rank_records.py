"""Records of several processes: rank 0 appends to records.jsonl, rank r to records-<r>.jsonl beside it.

The files of other ranks live only while a run lasts.  The next run, or the end of this one, moves their answers into
records.jsonl: they are appended there, flushed to the disk, and then the file is deleted.  So a kill at any moment
leaves every finished answer in one of the files, and one that is in two of them is the same line twice.
"""

from __future__ import annotations

from pathlib import Path

from sbr.errors import DataError
from sbr.eval.records import RecordFile, part_files


def part_file(folder: Path, rank: int) -> Path:
    """Where rank 1, 2, ... writes its answers."""
    return folder / f"records-{rank}.jsonl"


def collect_parts(records: RecordFile) -> None:
    """Move the answers of all part files beside `records` into it.

    Raises DataError when a process is still writing one of them, when one is damaged, or when it answers a question
    differently from `records`.
    """
    for file in part_files(records.file.parent):
        with RecordFile(file) as part:
            for key, record in part.done.items():
                if records.done.get(key, record) != record:
                    raise DataError(
                        f"{file} and {records.file} answer question {key.sample_id} of {key.level} differently; "
                        "they are not of one evaluation: start in a new folder"
                    )
            records.append([record for key, record in part.done.items() if key not in records.done])
            file.unlink()


class LineCount:
    """Counts the lines of the part files in a folder as they grow; what was counted is not read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[int, int]] = {}
        """File -> bytes read, lines found in them."""

    def read(self) -> int:
        for file in part_files(self._folder):
            offset, lines = self._read.get(file, (0, 0))
            with file.open("rb") as stream:
                stream.seek(offset)
                new = stream.read()
            self._read[file] = offset + len(new), lines + new.count(b"\n")
        return sum(lines for _, lines in self._read.values())
