"""Files: reading what may be anything, and writing so that a kill leaves the old one or the new one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sbr.errors import ConfigError, DataError

_ROOM = 1 << 20
"""A disk with less free bytes than this is full."""


def read_file(file: Path, most: int, advice: str) -> bytes:
    """All of an ordinary file of at most `most` bytes.

    Raises DataError, which ends with `advice`, when it is missing, is a device, a pipe, a folder or a link to itself,
    is larger, or cannot be read.
    """
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{file} is {'a folder' if stat.S_ISDIR(mode) else 'no ordinary file'}; {advice}")
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = b"" if size > most else stream.read(most + 1)  # files of /proc say that they are empty
            if max(size, len(data)) > most:
                raise DataError(f"{file} holds more than {most:,} bytes; {advice}")
    except FileNotFoundError:
        raise DataError(f"{file} does not exist; {advice}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{file} cannot be read: {getattr(error, 'strerror', error)}; {advice}") from None
    return data


def replace_file(file: Path, data: bytes) -> None:
    """Write `data` so that `file` is either the old one or the complete new one, also after kill -9.

    Raises OSError that names `file`, or the folder that cannot be made.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing(file):
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        finally:
            if temporary.exists():
                temporary.unlink()


def replace_output(file: Path, data: bytes, start: bytes) -> None:
    """`replace_file` for a file that a person named: only what begins with `start`, as `data` does, is replaced.

    Raises ConfigError when something else is there, which is left as it is.
    """
    check_output(file, start)
    replace_file(file, data)


def check_output(file: Path, start: bytes) -> None:
    """Raise ConfigError when `replace_output` would; for refusing before something slow."""
    if os.path.lexists(file):
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no ordinary file"
            raise ConfigError(f"{file} is {kind}; name the file to write")
        with file.open("rb") as stream:
            if (found := stream.read(len(start))) and found != start:
                raise ConfigError(
                    f"{file} holds something else than what would be written there; it is left as it is, name another "
                    "file"
                )


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Every error of the system while `file` (or folder) is written is an OSError that names it.

    The system names no file when a write to an open one fails, a draft beside the file means nothing to a person, and
    safetensors and torch have errors of their own for a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(file)) from error
    except Exception as error:
        if (code := _errno_of_library(error, file)) is None:
            raise
        raise OSError(code, os.strerror(code), str(file)) from error


def _errno_of_library(error: Exception, file: Path) -> int | None:
    """What the system said to safetensors ("... (os error 28)"), or what torch must have met; None for other errors."""
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    if "PytorchStreamWriter failed" in str(error) or "inline_container.cc" in str(error):
        there = next(folder for folder in file.absolute().parents if folder.exists())
        return errno.ENOSPC if shutil.disk_usage(there).free < _ROOM else errno.EIO
    return None
