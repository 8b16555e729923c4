"""One writer a folder: the second run is told who the first is."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sbr.errors import BusyError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if it is absent, against every other run, on shared disks too where they know flock.

    The system gives the lock back when the process ends, however it ends; the file stays and means nothing by itself.
    Raises BusyError that names the holder: process, machine, command and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{folder} is being written by {_holder(folder / LOCK)}; wait for it, stop it, or choose another folder"
            ) from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": shlex.join(sys.argv),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        stream.truncate(0)
        stream.write(json.dumps(holder).encode())
        stream.flush()
        yield


def _holder(file: Path) -> str:
    try:
        found = json.loads(file.read_bytes()[:4096])
        return f"process {found['pid']} on {found['host']} since {found['since']} ({found['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has only just taken the lock
