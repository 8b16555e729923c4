"""Opens every medium a data root names, in parallel processes, and says which cannot be used and how long the rest is.

A file on which a decoder crashes its process is found and named like every other bad file: the files that were being
read at that moment are read again, each in a process of its own.
"""

from __future__ import annotations

import os
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sbr.config.inputs import FramesConfig
from sbr.data.audit.root import NamedMedium
from sbr.errors import DataError, MediaError
from sbr.frames.content import AGAIN
from sbr.frames.decode_image import decode_image
from sbr.frames.decode_video import VideoFacts, decode_video, probe_video
from sbr.frames.sampling import frame_count, frame_indices
from sbr.frames.workers import spawn_pool

CHUNK = 4
"""Media a process reads at once."""

_FRAMES = FramesConfig()
"""The official sampling: a clip too short for it is of no use, whatever the recipe."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one medium turned out to be.  `fault` says why it cannot be used (None: it can; the rest is then known).

    Example: Probe(path, True, frames=310, seconds=10.33, width=426, height=240).  An image has no frames and seconds.
    """

    path: Path
    is_video: bool
    frames: int | None = None
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class BrokenMedium:
    """A medium that is there and cannot be used; `file` and `line` are the first of the `rows` that name it."""

    path: Path
    file: Path
    line: int
    rows: int
    fault: str

    def __str__(self) -> str:
        others = f" ({self.rows} rows name it)" if self.rows > 1 else ""
        return f"{self.file.name}:{self.line}: {self.fault}{others}"


@dataclass(frozen=True, slots=True)
class Spread:
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class SplitMedia:
    """The different media that the rows of one annotation file name and that are there."""

    file: Path
    videos: int
    images: int
    broken: int
    seconds: Spread | None
    """Lengths of the videos that can be used; None without any."""
    frames: Spread | None


@dataclass(frozen=True, slots=True)
class MediaReport:
    """`full`: every frame was decoded, otherwise the key frames of videos only."""

    full: bool
    splits: tuple[SplitMedia, ...]
    broken: tuple[BrokenMedium, ...]

    @property
    def ok(self) -> bool:
        return not self.broken


def probe_medium(path: Path, is_video: bool, full: bool) -> Probe:
    """Open one medium; never raises MediaError: what is wrong is `fault`.

    A picture is decoded whole.  Of a video all packets are read and the key frames decoded (`probe_video`); with `full`
    every frame, exactly as training and evaluation do it.
    """
    try:
        if not is_video:
            picture = decode_image(path)
            return Probe(path, False, width=picture.width, height=picture.height)
        facts = _decoded_facts(path) if full else probe_video(path)
        try:
            frame_count(facts.frames, facts.fps, _FRAMES)
        except MediaError as error:
            raise MediaError(f"video {path}: {error}.") from None
        return Probe(path, True, facts.frames, facts.frames / facts.fps, facts.width, facts.height)
    except (MediaError, OSError) as error:  # OSError: a disk that fails while it is read
        return Probe(path, is_video, fault=str(error) if isinstance(error, MediaError) else f"{path}: {error}")


def probe_media(media: Sequence[NamedMedium], full: bool, workers: int) -> Iterator[Probe]:
    """One Probe for every medium, in the order in which they are done, read by `workers` processes."""
    waiting = deque(media[start : start + CHUNK] for start in range(0, len(media), CHUNK))
    running: dict[Future[list[Probe]], Sequence[NamedMedium]] = {}
    pool = spawn_pool(workers)
    try:
        while waiting or running:
            try:
                while waiting and len(running) < 2 * workers:  # few: after a crash all of these are read again
                    running[pool.submit(_probe_chunk, waiting[0], full)] = waiting[0]
                    waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
                    del running[future]
            except BrokenProcessPool:
                wait(running)  # a pool that breaks ends all that runs in it
                pool.shutdown()
                suspects: list[NamedMedium] = []
                for future, chunk in running.items():
                    if future.exception() is None:
                        yield from future.result()
                    else:
                        suspects += chunk
                running.clear()
                for medium in suspects:
                    yield _probe_alone(medium, full)
                pool = spawn_pool(workers)
    finally:
        pool.shutdown(cancel_futures=True)


def summarise(media: Sequence[NamedMedium], probes: Iterable[Probe], full: bool) -> MediaReport:
    """Join what was found with the rows that name it.  There must be a probe for every medium (KeyError if not)."""
    found = {(probe.path, probe.is_video): probe for probe in probes}
    by_file: dict[Path, list[Probe]] = {}
    broken = []
    for medium in media:
        probe = found[medium.path, medium.is_video]
        for file in dict.fromkeys(place.file for place in medium.places):
            by_file.setdefault(file, []).append(probe)
        if probe.fault is not None:
            first = medium.places[0]
            broken.append(BrokenMedium(medium.path, first.file, first.line, len(medium.places), probe.fault))
    return MediaReport(full, tuple(_split(file, by_file[file]) for file in by_file), tuple(broken))


def _split(file: Path, probes: Sequence[Probe]) -> SplitMedia:
    videos = [probe for probe in probes if probe.is_video]
    return SplitMedia(
        file=file,
        videos=len(videos),
        images=len(probes) - len(videos),
        broken=sum(probe.fault is not None for probe in probes),
        seconds=_spread([probe.seconds for probe in videos if probe.seconds is not None]),
        frames=_spread([probe.frames for probe in videos if probe.frames is not None]),
    )


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(min(values), statistics.median(values), max(values)) if values else None


def _decoded_facts(path: Path) -> VideoFacts:
    clip = decode_video(path, partial(frame_indices, config=_FRAMES))
    _, height, width, _ = clip.frames_THWC.shape
    return VideoFacts(clip.total, clip.fps, width, height)


def _probe_chunk(chunk: Sequence[NamedMedium], full: bool) -> list[Probe]:
    return [probe_medium(medium.path, medium.is_video, full) for medium in chunk]


def _probe_alone(medium: NamedMedium, full: bool) -> Probe:
    with spawn_pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool:  # then the medium is not to blame
            raise DataError(
                "no process that opens media can be started (out of memory, or a limit of the system); close other "
                "programs, or look at the media later: --quick"
            ) from None
        try:
            return pool.submit(_probe_chunk, [medium], full).result()[0]
        except BrokenProcessPool:
            fault = f"{medium.path}: the process that decoded it crashed (damaged data, or out of memory). {AGAIN}."
            return Probe(medium.path, medium.is_video, fault=fault)
