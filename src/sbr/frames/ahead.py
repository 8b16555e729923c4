"""Frames decoded in threads: ahead of the model that needs them, or at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sbr.types import Frames, Shown

ShownT = TypeVar("ShownT", bound=Shown)


def frames_ahead(
    batches: Iterable[Sequence[ShownT]], load: Callable[[ShownT], Frames], ahead: int = 2
) -> Generator[list[tuple[ShownT, Frames]], None, None]:
    """Every batch with its frames, made by `load` in a few threads up to `ahead` batches before their turn.

    Frames are decoded in the order they are needed; an error of one sample is raised when its batch is due.  What shows
    the same media in a batch, as the rotations of one question do, shares its frames.
    """
    pool = _pool()
    pending: deque[list[tuple[ShownT, Future[Frames]]]] = deque()
    upcoming = iter(batches)
    try:
        while True:
            while len(pending) <= ahead and (batch := next(upcoming, None)) is not None:
                pending.append(_submit(pool, batch, load))
            if not pending:
                return
            yield _wait(pending.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def frames_now(batch: Sequence[ShownT], load: Callable[[ShownT], Frames]) -> list[tuple[ShownT, Frames]]:
    """One batch with its frames, by threads of its own: it waits for nothing that is decoded ahead."""
    with _pool() as pool:
        return _wait(_submit(pool, batch, load))


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="frames")


def _submit(
    pool: ThreadPoolExecutor, batch: Sequence[ShownT], load: Callable[[ShownT], Frames]
) -> list[tuple[ShownT, Future[Frames]]]:
    media = {(shown.video, shown.image): shown for shown in batch}
    futures = {medium: pool.submit(load, shown) for medium, shown in media.items()}
    return [(shown, futures[shown.video, shown.image]) for shown in batch]


def _wait(pending: Sequence[tuple[ShownT, Future[Frames]]]) -> list[tuple[ShownT, Frames]]:
    return [(shown, future.result()) for shown, future in pending]
