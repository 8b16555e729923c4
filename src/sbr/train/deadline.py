"""A run that stands still ends, and says which process stands where.

Processes wait for each other in every exchange.  When one of them hangs (a dead file server, a lost GPU) or the calls
of two differ, all stand still without a word until the process group gives up, hours later.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

GRACE = 3
"""Seconds in which the other processes can say the same: the launcher ends all when one has ended, and those that only
wait may be first."""

logger = logging.getLogger(__name__)


class Deadline:
    """Ends the process when no phase begins or ends for `minutes`.

    A thread watches, because the main one stands in a call that nothing interrupts.  `place` is e.g. "process 1 of 8".
    """

    def __init__(self, minutes: float, place: str) -> None:
        self._seconds = 60 * minutes
        self._place = place
        self._phases: list[str] = []
        self._since = time.monotonic()
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, phases are watched."""
        self._since = time.monotonic()
        watcher = threading.Thread(target=self._watch, name="deadline", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Phases may lie in each other."""
        self._phases.append(name)
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._phases.pop()
            self._since = time.monotonic()

    def _watch(self) -> None:
        tick = min(1.0, self._seconds / 4)
        last = time.monotonic()
        while not self._over.wait(tick):
            now = time.monotonic()
            if now - last > 10 * tick:  # the whole process was stopped, by Ctrl-Z or a scheduler
                self._since = now
            if now - self._since > self._seconds:
                self._end()
            last = now

    def _end(self) -> None:
        logger.error(
            "%s has stood still for %.3g minutes in %s (train.deadline) and ends; find out what it waited for, then "
            "continue with --resume.  It stood in:",
            *(self._place, self._seconds / 60, " / ".join(self._phases) or "between two phases"),
        )
        faulthandler.dump_traceback(file=sys.__stderr__ or 2)
        time.sleep(GRACE)
        os._exit(1)
