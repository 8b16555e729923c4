"""SIGTERM and Ctrl-C end a run at the border of a step, with a checkpoint.

A scheduler that wants its machine back sends SIGTERM and waits a while; what the run has learned so far is kept.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


class Stop:
    """Which signal has asked this process to end, if any."""

    def __init__(self) -> None:
        self.asked: int | None = None

    def note(self, number: int, _: FrameType | None) -> None:
        """The handler.  A second signal of the kind ends the process at once, as if there were no handler."""
        self.asked = number
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        name = signal.Signals(number).name
        logger.warning("%s: the step under way is finished and a checkpoint written; once more ends at once", name)


@contextmanager
def listening() -> Iterator[Stop]:
    """Inside, the signals are noted; afterwards they mean again what they meant before."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
        yield stop
        return
    before = {number: signal.signal(number, stop.note) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agreed(asked: Sequence[int | None]) -> int | None:
    """Return what all processes stop for, out of what each was asked; None when none was."""
    return next((number for number in asked if number is not None), None)
