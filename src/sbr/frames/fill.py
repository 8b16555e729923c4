"""Fill the frame cache with every medium that the questions of a data root name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sbr.config import FramesConfig
from sbr.data.benchmark import LEVELS, load_level, load_training_samples
from sbr.data.layout import DataRoot
from sbr.errors import DataError, MediaError
from sbr.frames.cache import CacheCounts, FrameCache
from sbr.frames.cache_entry import Pictures
from sbr.frames.load import load_image, load_video
from sbr.frames.sampling import resized_size

TRAIN = "train"
SPLITS = (TRAIN, *LEVELS)

Progress = Callable[[int, int], None]
"""Called with (media done, media in all)."""


@dataclass(frozen=True, slots=True)
class Media:
    """The distinct files that questions name, in the order of their names."""

    videos: tuple[Path, ...]
    images: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Filling:
    """What one call of `fill` did."""

    media: int
    counts: CacheCounts
    failures: tuple[str, ...]
    """One message for every medium that cannot be used."""
    seconds: float


def media_of_root(root: Path, splits: Sequence[str] = SPLITS) -> Media:
    """The media of the chosen splits ("train": all files training*.jsonl but those of chats; "L1", ...).

    Annotation files that are not there are left out.  Raises DataError if `root` is not a data root or none is there,
    AnnotationError for bad rows.
    """
    names = DataRoot(root).annotation_names()
    samples = []
    found = False
    for split in splits:
        if split in LEVELS and LEVELS[split].file in names:
            samples += load_level(root, split, None)
            found = True
        elif split == TRAIN:
            for name in names:
                if name.startswith("training") and "cot" not in name:
                    samples += load_training_samples(root, name, 0, None)
                    found = True
    if not found:
        raise DataError(f"{root} has no annotation file of {', '.join(splits)}; it has {', '.join(names) or 'none'}")
    videos = {sample.video for sample in samples if sample.video is not None}
    return Media(tuple(sorted(videos)), tuple(sorted({sample.image for sample in samples})))


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
    cache.remove_abandoned()
    size = resized_size(config, factor)
    tasks = [partial(load_video, file, config, size, 1, cache) for file in media.videos]
    tasks += [partial(load_image, file, size, cache) for file in media.images]
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
