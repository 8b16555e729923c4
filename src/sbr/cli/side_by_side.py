"""Long calls side by side, each in a process of its own, with their bars and their log in one place.

Small models leave cores idle: two runs with one thread each take less time than one after the other with two.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.progress import Progress, TaskID

from sbr.cli.progress import Bars, steps_progress
from sbr.cli.worker import BarChange, Outcome, work
from sbr.errors import SbrError

ResultT = TypeVar("ResultT")


Job = Callable[[Callable[[], Bars]], ResultT]
"""A long call; it gets what makes its bars.  Where several run at a time it has to be a function of a module, or a
`partial` of one, whose arguments and result can be pickled."""


class DiedError(SbrError):
    """The process of a job has ended without a word."""


@dataclass(slots=True, eq=False)
class _Running:
    name: str
    process: ForkServerProcess
    connection: Connection
    tasks: dict[int, tuple[Progress, TaskID]] = field(default_factory=dict)
    outcome: Outcome | None = None


class SideBySide:
    """At most `processes` jobs at the same time.

    with SideBySide(2, threads=1) as side_by_side:
        side_by_side.run({"SFT": partial(train, sft), "GRPO": partial(train, grpo)})

    Each process takes `threads` threads, runs one job and ends.  It is forked from one that has imported everything
    and computed nothing: a fork of a process that runs torch's threads can hang.  When leaving with an error, also that
    of Ctrl-C, the jobs are told to stop (SIGTERM, at which training writes a checkpoint) and waited for.
    """

    def __init__(self, processes: int, threads: int, keep_bars: bool = True) -> None:
        self._processes = processes
        self._threads = threads
        self._keep_bars = keep_bars
        self._running: dict[Connection, _Running] = {}
        self._progress = steps_progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for running in self._running.values():
            running.process.terminate()
        while self._running:
            self.ended()

    def run(self, jobs: Mapping[str, Job[Any]]) -> dict[str, Any]:
        """The results of all jobs, by their names; with one process they run in this one, one after the other.

        Raises what the first job to fail has raised.
        """
        if self._processes == 1:
            return {name: job(steps_progress) for name, job in jobs.items()}
        waiting, results = list(jobs.items()), {}
        with self.bars():
            while waiting or self._running:
                while waiting and self.free:
                    self.start(*waiting.pop(0))
                for name, outcome in self.ended():
                    if outcome.error is not None:
                        raise outcome.error
                    results[name] = outcome.result
        return {name: results[name] for name in jobs}

    @contextmanager
    def bars(self) -> Iterator[Progress]:
        """Inside, the bars of jobs that are started are shown, and others may be added to them."""
        self._progress = steps_progress()
        with self._progress:
            yield self._progress

    @property
    def free(self) -> int:
        """How many more jobs may be started now."""
        return self._processes - len(self._running)

    def start(self, name: str, job: Job[Any]) -> None:
        """Start a job; `ended` tells of its end under this name."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sbr.cli.preloaded"])
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(theirs, job, self._threads, dict(os.environ)), name=name)
        with _thread_limit(self._threads):
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._running[ours] = _Running(name, process, ours)

    def ended(self, timeout: float | None = None) -> list[tuple[str, Outcome]]:
        """Wait until jobs end, at most `timeout` seconds, and meanwhile show what all tell; the outcomes by name.

        The error of a process that was killed is a `DiedError`.
        """
        end = None if timeout is None else monotonic() + timeout
        found: list[tuple[str, Outcome]] = []
        while self._running and not found:
            readable = wait(self._running, None if end is None else max(0.0, end - monotonic()))
            for running in [running for connection, running in self._running.items() if connection in readable]:
                if not self._hear(running):
                    found.append((running.name, self._end(running)))
            if end is not None and monotonic() >= end:
                break
        return found

    def _hear(self, running: _Running) -> bool:
        """Take in one message; False when there will be no more."""
        try:
            told = running.connection.recv()
        except EOFError:
            return False
        if isinstance(told, Outcome):
            running.outcome = told
        elif isinstance(told, BarChange):
            self._show(running, told)
        else:
            logger = logging.getLogger(told.name)
            if logger.isEnabledFor(told.levelno):
                logger.handle(told)
        return True

    def _end(self, running: _Running) -> Outcome:
        del self._running[running.connection]
        running.connection.close()
        running.process.join()
        if not self._keep_bars:
            for progress, task in running.tasks.values():
                progress.remove_task(task)
        code = running.process.exitcode or 0
        if running.outcome is not None:
            return running.outcome
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return Outcome(
            None, DiedError(f"the process has ended {how} without a word; was it killed because memory ran out?")
        )

    def _show(self, running: _Running, bar: BarChange) -> None:
        changes: dict[str, Any] = bar.changes
        if "description" in changes:
            changes |= {"description": f"{running.name}: {changes['description']}"}
        if bar.task in running.tasks:
            progress, shown = running.tasks[bar.task]
            progress.update(shown, **changes)
        else:
            running.tasks[bar.task] = (self._progress, self._progress.add_task(**changes))


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """For the process that jobs are forked from: libraries read it when they are imported."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


_THREADS = "OMP_NUM_THREADS"
