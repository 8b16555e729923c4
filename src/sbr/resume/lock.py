"""One writer a folder, and one a file: the second run is told who the first is."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from sbr.errors import BusyError
from sbr.files import writing

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if it is absent, against every other run, on shared disks too where they know flock.

    The system gives the lock back when the process ends, however it ends; a file that a killed one leaves means
    nothing by itself.  At the end the file is gone, and a folder that was made for it and is still empty is, too.
    Raises BusyError that names the holder: process, machine, command and since when.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    try:
        with _held(file) as stream:
            holder = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "command": shlex.join(sys.argv),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            try:
                with writing(folder):
                    stream.truncate(0)
                    stream.write(json.dumps(holder).encode())
                yield
            finally:
                file.unlink(missing_ok=True)  # still held: who opened it meanwhile sees that it is gone
    finally:
        with suppress(OSError):  # not empty, or another run has just come in
            for path in absent:
                path.rmdir()


def hold(stream: FileIO, file: Path) -> bool:
    """Lock the open `stream` of `file` until it is closed; False when another process has it, or has replaced the file
    since it was opened."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return file.exists() and os.path.samestat(os.fstat(stream.fileno()), file.stat())


@contextmanager
def _held(file: Path) -> Iterator[FileIO]:
    with file.open("a+b", buffering=0) as stream:
        if not hold(stream, file):
            raise BusyError(
                f"{file.parent} is being written by {_holder(file)}; wait for it, stop it, or choose another folder"
            )
        yield stream


def _holder(file: Path) -> str:
    try:
        found = json.loads(file.read_bytes()[:4096])
        return f"process {found['pid']} on {found['host']} since {found['since']} ({found['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has only just taken the lock, or given it back


def is_held(folder: Path) -> bool:
    """Whether a process holds `folder` at this moment.  Asking takes nothing from anybody for longer than a moment."""
    try:
        with (folder / LOCK).open("rb", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
