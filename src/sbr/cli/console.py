"""The terminal: everything that a person reads goes through here, so that no data can command the screen.

Annotations, file names, models and templates are strangers' text.  A control character in it could move the cursor, set
the window's title or turn a line around; `Terminal` leaves these out and keeps its own colours.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

READER_LEFT = 141
"""Exit status when the reader of our output has gone (`sbr ... | head`), as if SIGPIPE had ended the command."""

_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""C0 without tab and line feed, DEL and C1; line separators and what turns the direction of text around."""


def clean(text: str) -> str:
    r"""`text` without control characters; bytes of a file name that are no UTF-8 become U+FFFD.

    >>> clean("a\x1b[31mb\u202ec\tlast\n")
    'a[31mbc\tlast\n'
    """
    return _NOT_SHOWN.sub("", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def has_control(text: str) -> bool:
    """Whether `clean` would leave out something."""
    return _NOT_SHOWN.search(text) is not None


class Terminal(Console):
    """A rich Console that shows text as it is: no markup unless asked for, no control characters, no highlighting."""

    def __init__(
        self,
        *,
        stderr: bool = False,
        soft_wrap: bool = False,
        file: IO[str] | None = None,
        force_terminal: bool | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__(
            stderr=stderr,
            soft_wrap=soft_wrap,
            file=file,
            force_terminal=force_terminal,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Every table, bar and line comes through here, also what they are made of."""
        for segment in super().render(renderable, options):
            # Segments with control codes are rich's own: moving the cursor for a progress bar.
            yield segment if segment.control else Segment(clean(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        leave_quietly()


ERRORS = Terminal(stderr=True, soft_wrap=True)
"""Errors, the log and progress bars: one console, so that a line of the log stands above a bar and not in it."""


class LogLines(logging.Handler):
    """The log above the bars.  Each line is whole, however long: the terminal wraps it, and a path can be copied."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        level = (record.levelname, _LEVEL_STYLES.get(record.levelno, ""))
        moment = time.strftime("%H:%M:%S ", time.localtime(record.created))
        self._console.print(Text.assemble((moment, "dim"), level, " ", self.format(record)), soft_wrap=True)


_LEVEL_STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}


def quiet_libraries() -> None:
    """What libraries say of themselves and of every request."""
    # torchao, if installed, is imported by transformers and there calls a function that torch is about to remove.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request to an endpoint


@contextmanager
def without_counts() -> Iterator[None]:
    """Each of many runs would say what it has read from the frame cache."""
    logger = logging.getLogger("sbr.frames")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def quiet_transformers() -> None:
    """transformers without its progress bars, and its log through ours instead of straight to the terminal."""
    from transformers.utils import logging as of_transformers

    of_transformers.disable_progress_bar()
    of_transformers.disable_default_handler()
    of_transformers.enable_propagation()


def leave_quietly() -> None:
    """Nobody reads the output any more.  Raises SystemExit(141); what is still to be flushed goes nowhere."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    raise SystemExit(READER_LEFT)


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook`: an error of the program itself, whole; its text may come from data."""
    sys.stderr.write(clean("".join(traceback.format_exception(kind, error, trace))))
