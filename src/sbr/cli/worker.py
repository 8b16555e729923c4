"""The process of one job of `sbr.cli.side_by_side`: its bars, its log and its outcome travel to the parent."""

from __future__ import annotations

import itertools
import logging
import logging.handlers
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from rich.progress import TaskID

from sbr.cli.console import quiet_libraries
from sbr.errors import StoppedError
from sbr.frames.workers import die_with_parent


@dataclass(frozen=True, slots=True)
class BarChange:
    """A bar of the job is new, or has moved."""

    task: int
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last word of a job."""

    result: Any
    error: BaseException | None


class Wire:
    """One end of a pipe, for all threads of the process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def put_nowait(self, told: BarChange | Outcome | logging.LogRecord) -> None:
        """As `logging.handlers.QueueHandler` calls it."""
        with self._lock:
            self._connection.send(told)


class SentBars:
    """`sbr.cli.progress.Bars` whose bars are shown by the parent."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._numbers = itertools.count()

    def start(self) -> None:
        """The parent's bars run already."""

    def stop(self) -> None:
        """They end with the last job."""

    def add_task(self, description: str, *, total: float | None, completed: int, **fields: Any) -> TaskID:
        task = TaskID(next(self._numbers))
        changes = {"description": description, "total": total, "completed": completed, **fields}
        self._wire.put_nowait(BarChange(task, changes))
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        self._wire.put_nowait(BarChange(task_id, changes))


def work(connection: Connection, job: Any, threads: int, environment: Mapping[str, str]) -> None:
    """All that the process does.  SIGTERM ends the job, training at the border of a step.

    The environment is the parent's of now, not that of the process that this one was forked from.
    """
    die_with_parent()
    signal.signal(signal.SIGTERM, _stop)
    os.environ.clear()
    os.environ.update(environment, OMP_NUM_THREADS=str(threads))
    if "torch" in sys.modules:  # it has read the number of threads when it was imported
        sys.modules["torch"].set_num_threads(threads)
    wire = Wire(connection)
    logging.captureWarnings(True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Records(wire)], force=True)
    quiet_libraries()
    wire.put_nowait(_outcome(job, wire))


def _outcome(job: Any, wire: Wire) -> Outcome:
    numbers = SentBars(wire)  # one for all bars of the job, so that each has a number of its own
    try:
        return Outcome(job(lambda: numbers), None)
    except BaseException as error:
        return Outcome(None, _travelling(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _travelling(error: BaseException) -> BaseException:
    """`error`, or its text if it cannot be sent; where it was raised goes along as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Records(logging.handlers.QueueHandler):
    """The log, as records that can be pickled."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)  # pyright: ignore[reportArgumentType]  # all it calls is put_nowait


def _stop(number: int, _: FrameType | None) -> None:
    raise StoppedError("stopped; the same command goes on from here", number)
