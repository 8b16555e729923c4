"""Progress bars.  They stand on standard error, below the lines of the log; results go to standard output."""

from __future__ import annotations

from typing import Any, Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sbr.cli.console import ERRORS


class Bars(Protocol):
    """The part of rich's Progress that a bar of `steps_progress` needs."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def add_task(self, description: str, *, total: float | None, completed: int, **fields: Any) -> TaskID: ...
    def update(self, task_id: TaskID, **changes: Any) -> None: ...


def steps_progress() -> Progress:
    """A bar over steps; tasks carry a field `figures`, a short text with the last figures.  Then time taken and
    time left; all fits into 80 columns."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=ERRORS,
    )


def count_progress(of_bytes: bool = False) -> Progress:
    """A bar over things (or bytes) to be done that is gone when they are."""
    number = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), number, TimeRemainingColumn())
    return Progress(*columns, console=ERRORS, transient=True)
