"""Long calls side by side, each in a process of its own, with their bars and their log in one place.

Small models leave cores idle: two runs with one thread each take less time than one after the other with two.
"""

from __future__ import annotations

import itertools
import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from rich.progress import Progress, TaskID

from sbr.cli.console import quiet_libraries
from sbr.cli.progress import Bars, steps_progress
from sbr.errors import StoppedError
from sbr.frames.workers import die_with_parent

ResultT = TypeVar("ResultT")


Job = Callable[[Callable[[], Bars]], ResultT]
"""A long call; it gets what makes its bars.  Where several run at a time it has to be a function of a module, or a
`partial` of one, whose arguments and result can be pickled."""


class SideBySide:
    """At most `processes` jobs at the same time; with 1, one after the other in this process.

    with SideBySide(2) as side_by_side:
        side_by_side.run({"SFT": partial(train, sft), "GRPO": partial(train, grpo)})

    Each process takes `threads` threads.  When a job fails, or Ctrl-C is pressed, the others are told to stop (SIGTERM,
    at which training writes a checkpoint), and leaving waits for them.
    """

    def __init__(self, processes: int, threads: int) -> None:
        self._processes = processes
        self._threads = threads
        self._numbers = itertools.count()
        self._names: dict[int, str] = {}
        self._pids: list[int] = []
        self._tasks: dict[tuple[int, int], tuple[Progress, TaskID]] = {}
        self._progress = steps_progress()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._processes > 1:
            context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch's threads can hang
            self._queue = context.Queue()
            self._pool = ProcessPoolExecutor(
                self._processes, context, initializer=_begin, initargs=(self._queue, self._threads)
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._pool is None:
            return
        if kind is not None:
            self._stop_jobs()
        self._pool.shutdown(cancel_futures=True)
        self._queue.put(None)
        self._reader.join()

    def run(self, jobs: Mapping[str, Job[Any]]) -> dict[str, Any]:
        """The results of all jobs, by their names.  Raises what the first job to fail has raised."""
        if self._pool is None:
            return {name: job(steps_progress) for name, job in jobs.items()}
        numbers = {name: next(self._numbers) for name in jobs}
        self._names |= {number: name for name, number in numbers.items()}
        self._progress = steps_progress()
        with self._progress:
            futures: dict[str, Future[Any]] = {
                name: self._pool.submit(_work, numbers[name], job) for name, job in jobs.items()
            }
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        return {name: future.result() for name, future in futures.items()}

    def _stop_jobs(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)

    def _read(self) -> None:
        """What the processes tell: their ids, changes of their bars, and lines of their log."""
        while (told := self._queue.get()) is not None:
            if isinstance(told, int):
                self._pids.append(told)
            elif isinstance(told, logging.LogRecord):
                logger = logging.getLogger(told.name)
                if logger.isEnabledFor(told.levelno):
                    logger.handle(told)
            else:
                job, task, changes = told
                self._show(job, task, changes)

    def _show(self, job: int, task: int, changes: dict[str, Any]) -> None:
        if "description" in changes:
            changes = changes | {"description": f"{self._names[job]}: {changes['description']}"}
        if (job, task) in self._tasks:
            progress, shown = self._tasks[job, task]  # a late word of a job that is done is for its own bars
            progress.update(shown, **changes)
        else:
            self._tasks[job, task] = (self._progress, self._progress.add_task(**changes))


class _SentBars:
    """`Bars` of a job in another process."""

    def __init__(self, job: int) -> None:
        self._job = job

    def start(self) -> None:
        """The parent's bars run already."""

    def stop(self) -> None:
        """They end with the last job."""

    def add_task(self, description: str, *, total: float | None, completed: int, **fields: Any) -> TaskID:
        task = TaskID(next(_TASKS))
        _QUEUE.put((self._job, task, {"description": description, "total": total, "completed": completed, **fields}))
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        _QUEUE.put((self._job, task_id, changes))


_TASKS = itertools.count()
_QUEUE: Any = None
"""Of a process that works; `_begin` sets it."""


def _begin(queue: Any, threads: int) -> None:
    """The start of a process: before torch is imported, which reads the number of threads."""
    global _QUEUE
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _QUEUE = queue
    os.environ["OMP_NUM_THREADS"] = str(threads)
    logging.captureWarnings(True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.handlers.QueueHandler(queue)])
    quiet_libraries()
    queue.put(os.getpid())


def _work(number: int, job: Job[ResultT]) -> ResultT:
    """One job.  SIGTERM ends it, training at the border of a step; between jobs it would break the pool."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return job(partial(_SentBars, number))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop(number: int, _: FrameType | None) -> None:
    raise StoppedError("stopped; the same command goes on from here", number)
