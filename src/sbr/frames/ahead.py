"""Frames decoded ahead of the model that needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sbr.types import Frames, Shown

ShownT = TypeVar("ShownT", bound=Shown)

_WORKERS = 4
_BATCHES_AHEAD = 2


def frames_ahead(
    batches: Iterable[Sequence[ShownT]], load: Callable[[ShownT], Frames]
) -> Generator[list[tuple[ShownT, Frames]], None, None]:
    """Every batch with its frames, made by `load` in a few threads up to two batches ahead.

    Frames are decoded in the order they are needed; an error of one sample is raised when its batch is due.  What shows
    the same media in a batch, as the rotations of one question do, shares its frames.
    """
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="frames")
    pending: deque[list[tuple[ShownT, Future[Frames]]]] = deque()
    upcoming = iter(batches)
    try:
        while True:
            while len(pending) <= _BATCHES_AHEAD and (batch := next(upcoming, None)) is not None:
                media = {(shown.video, shown.image): shown for shown in batch}
                futures = {medium: pool.submit(load, shown) for medium, shown in media.items()}
                pending.append([(shown, futures[shown.video, shown.image]) for shown in batch])
            if not pending:
                return
            yield [(shown, future.result()) for shown, future in pending.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
