"""Frames decoded ahead of the model that needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sbr.types import Frames, Sample

_WORKERS = 4
_BATCHES_AHEAD = 2


def frames_ahead(
    batches: Iterable[Sequence[Sample]], load: Callable[[Sample], Frames]
) -> Generator[list[tuple[Sample, Frames]], None, None]:
    """Every batch with its frames, made by `load` in a few threads up to two batches ahead.

    Frames are decoded in the order they are needed, those that several questions of a batch share once; an error of
    one sample is raised when its batch is due.
    """
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="frames")
    pending: deque[list[tuple[Sample, Future[Frames]]]] = deque()
    upcoming = iter(batches)
    try:
        while True:
            while len(pending) <= _BATCHES_AHEAD and (batch := next(upcoming, None)) is not None:
                first = {(sample.video, sample.image): sample for sample in batch}
                shown = {media: pool.submit(load, sample) for media, sample in first.items()}
                pending.append([(sample, shown[sample.video, sample.image]) for sample in batch])
            if not pending:
                return
            yield [(sample, future.result()) for sample, future in pending.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
