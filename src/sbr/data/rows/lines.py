"""The bytes of annotation files, within a stated budget: ordinary files only, so that nothing can fill the memory.

The largest files of the benchmarks hold some 100 MB and lines of some 100 kB; the limits lie far above.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sbr.errors import DataError
from sbr.files import read_file

LARGEST_FILE = 1 << 30
"""Bytes of one annotation file, unpacked."""
LONGEST_LINE = 1 << 23
"""Bytes of one line; of a longer one only the beginning is kept, and its reader refuses it."""


def file_lines(file: Path) -> Iterator[bytes]:
    """The lines of `file`, each with its ending, unpacked if its name ends in .gz.

    A line longer than LONGEST_LINE is cut behind that.  Raises DataError if the file is missing, is no ordinary file,
    is larger than LARGEST_FILE, or cannot be read.
    """
    require_readable(file)
    try:
        with file.open("rb") as stream:
            if file.suffix != ".gz":
                yield from _bounded(file, stream)
                return
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield from _bounded(file, unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file} is not a whole gzip file ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"annotation file {file} cannot be read: {error.strerror}") from None


def file_bytes(file: Path) -> bytes:
    """All of `file`.  Raises as `file_lines`."""
    return read_file(file, LARGEST_FILE, "give an annotation file")


def require_readable(file: Path) -> None:
    """Raises DataError unless `file` is an ordinary file of at most LARGEST_FILE bytes."""
    try:
        found = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"annotation file {file} cannot be opened: {reason}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise DataError(f"annotation file {file} cannot be opened: it is {kind}; give an ordinary file")
    if found.st_size > LARGEST_FILE:
        raise DataError(
            f"annotation file {file} holds {found.st_size:,} bytes, and {LARGEST_FILE:,} are the most that is read; "
            "is it an annotation file? Split it if so"
        )


def _bounded(file: Path, stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    left = LARGEST_FILE
    while line := stream.readline(LONGEST_LINE + 1):
        rest, left = line, left - len(line)
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n") and left >= 0:
            rest = stream.readline(LONGEST_LINE + 1)
            left -= len(rest)
        if left < 0:
            raise DataError(f"{file} unpacks to more than {LARGEST_FILE:,} bytes; is it an annotation file?")
        yield line
