"""Fill the frame cache with every medium that the questions of a data root name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

from sbr.config.inputs import FramesConfig
from sbr.errors import DataError, MediaError
from sbr.frames.cache import CacheCounts, FrameCache
from sbr.frames.cache_entry import Pictures
from sbr.frames.load import load_image, load_video
from sbr.frames.media import Media
from sbr.frames.sampling import resized_size

Progress = Callable[[int, int], None]
"""Called with (media done, media in all)."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What one call of `fill` did."""

    media: int
    counts: CacheCounts
    failures: tuple[str, ...]
    """One message for every medium that cannot be used."""
    seconds: float


def fill(
    cache: FrameCache,
    media: Media,
    config: FramesConfig,
    factor: int,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> Filling:
    """Read every medium through `cache`, `workers` at once: what is there is checked, everything else is written.

    A medium that cannot be used becomes a failure and the others go on.  Raises DataError when an entry cannot be
    written; the entries that are there then stay.
    """
    start = time.perf_counter()
    size = resized_size(config, factor)
    tasks = [partial(load_video, file, config, size, 1, cache) for file in media.videos]
    tasks += [partial(load_image, file, size, 1, cache) for file in media.images]
    random.shuffle(tasks)  # several processes that fill one cache meet at few media and so share the work
    failures: list[str] = []
    pool = ThreadPoolExecutor(workers, thread_name_prefix="frames")
    try:
        for done, future in enumerate(as_completed([pool.submit(_failure, task) for task in tasks]), start=1):
            if failure := future.result():
                failures.append(failure)
            if cache.write_error is not None:
                raise DataError(
                    f"frame cache: {cache.write_error}.  What is written stays; make room, or choose another --folder, "
                    "and run the command again"
                )
            progress(done, len(tasks))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return Filling(len(tasks), cache.counts, tuple(sorted(failures)), time.perf_counter() - start)


def _failure(load: Callable[[], Pictures]) -> str | None:
    """Load and forget: the pictures of a whole data root do not fit into memory."""
    try:
        load()
    except MediaError as error:
        return str(error)
    return None
