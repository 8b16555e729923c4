"""Clips and pictures cut out of whole recordings: what `sbr data build` names in media.jsonl.

A recording is decoded forward, once for up to 32 clips that are open at the same time, and every clip is encoded again
(H.264), so that it begins and ends at its own frames.  A clip holds first_frame to last_frame, both included; the
picture is the last frame.  Where the annotations give times they decide, since the frame numbers of EPIC-KITCHENS count
pictures taken at 60 a second, whatever the rate of the recording.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TypeAlias

import av
from av.error import FFmpegError

from sbr.data.build.splits import Medium
from sbr.errors import ConfigError, DataError, MediaError
from sbr.files import read_file, replace_file
from sbr.frames.content import require_file
from sbr.frames.cut_file import CutFile
from sbr.frames.decode_video import open_video, video_stream
from sbr.frames.workers import spawn_pool

SETTINGS = "cut.json"
"""Below the root: how everything there was cut."""
OPEN_CLIPS = 32
"""Encoders that are open at once; more clips at the same moment need another pass over the recording."""
_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v")

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (media finished, media in all)."""


@dataclass(slots=True)
class CutReport:
    made: int = 0
    there: int = 0
    """Already cut by an earlier run."""
    without_video: dict[str, int] = field(default_factory=dict)
    """Video that is not in the folder -> its media."""
    failed: dict[str, str] = field(default_factory=dict)
    """Medium -> why it could not be cut."""

    @property
    def ok(self) -> bool:
        return not self.without_video and not self.failed


def find_videos(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """Recordings anywhere below `folder` by the names of their videos (P01/videos/P01_13.MP4 is P01_13).

    Raises DataError if there is no such folder or if one video is there twice.
    """
    if not folder.is_dir():
        raise DataError(f"--videos {folder} is not a folder; it holds the uncut recordings")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.stem in wanted and file.suffix.casefold() in _SUFFIXES and file.is_file():
            if file.stem in found:
                raise DataError(f"video {file.stem} is there twice, {found[file.stem]} and {file}; keep one of the two")
            found[file.stem] = file
    return found


def cut_media(
    root: Path,
    media: Sequence[Medium],
    videos: Mapping[str, Path],
    height: int,
    workers: int,
    on_progress: Progress = lambda done, total: None,
) -> CutReport:
    """Write every medium below `root` that is not there yet.  `height` in pixels, even; 0 keeps the recording's.

    Each file is complete or not there, also after kill -9; the same call again cuts the rest.  A recording that is
    damaged or ends too early fails its media and no others.  Raises DataError when a file cannot be written,
    ConfigError when those that are there have another height.
    """
    report = CutReport()
    _keep_height(root / SETTINGS, height)
    _remove_drafts([root / medium.file for medium in media])
    of_video: dict[str, list[Medium]] = {}
    for medium in media:
        if _is_there(root / medium.file):
            report.there += 1
        elif medium.video_id in videos:
            of_video.setdefault(medium.video_id, []).append(medium)
        else:
            report.without_video[medium.video_id] = report.without_video.get(medium.video_id, 0) + 1
    done = len(media) - sum(map(len, of_video.values()))
    on_progress(done, len(media))
    if not of_video:
        return report
    pool = spawn_pool(min(workers, len(of_video)))
    try:
        jobs = {pool.submit(cut_video, root, own, videos[video], height): own for video, own in of_video.items()}
        for job in as_completed(jobs):
            failed = job.result()
            report.failed |= failed
            report.made += len(jobs[job]) - len(failed)
            done += len(jobs[job])
            on_progress(done, len(media))
    except BrokenProcessPool:
        raise DataError(
            "a process that cuts clips was killed (out of memory?); run the same command again, with fewer --workers: "
            "it goes on where it stopped"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return report


def cut_video(root: Path, media: Sequence[Medium], file: Path, height: int) -> dict[str, str]:
    """Cut all `media` out of one recording; returns those that could not be cut, with the reason."""
    failed: dict[str, str] = {}
    try:
        require_file(file, "video")
        with open_video(file) as container:
            rate = video_stream(container, file).average_rate
        if not rate:
            raise MediaError(f"{file} declares no frame rate")
        cuts = sorted(
            (CutFile(root / m.file, m.file, *_frames(m, rate)) for m in media), key=lambda c: (c.first, c.last)
        )
    except MediaError as error:
        return {medium.file: str(error) for medium in media}
    for cuts_of_pass in _passes(cuts):
        try:
            _run(file, cuts_of_pass, rate, height)
        except MediaError as error:
            failed |= {cut.name: str(error) for cut in cuts_of_pass if not _is_there(cut.target)}
        finally:
            for cut in cuts_of_pass:
                cut.drop()
    return failed


def _frames(medium: Medium, rate: Fraction) -> tuple[int, int]:
    """First and last frame in the recording; annotations may say -1 for what began before it."""
    if medium.first_seconds is None or medium.last_seconds is None:
        first, last = max(medium.first_frame, 0), max(medium.last_frame, 0)
    else:
        # The frame shown at the first moment, and the last one that begins before the last: a video's end has none.
        first, last = int(medium.first_seconds * rate), max(0, ceil(medium.last_seconds * rate) - 1)
    return min(first, last), last


def _passes(cuts: Sequence[CutFile]) -> list[list[CutFile]]:
    """Groups of cuts (in order of their first frames) of which never more than OPEN_CLIPS overlap."""
    passes: list[list[CutFile]] = []
    for cut in cuts:
        for group in passes:
            if sum(other.last >= cut.first for other in group) < OPEN_CLIPS:
                group.append(cut)
                break
        else:
            passes.append([cut])
    return passes


def _run(file: Path, cuts: Sequence[CutFile], rate: Fraction, height: int) -> None:
    waiting, active = list(reversed(cuts)), list[CutFile]()
    number = 0
    with open_video(file) as container:
        stream = video_stream(container, file)
        stream.codec_context.thread_count = 1
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise MediaError(f"{file} is damaged at frame {number}; download it again")
                if frame.rotation:
                    raise MediaError(f"{file} is stored turned by {frame.rotation} degrees; re-encode it upright")
                while waiting and waiting[-1].first <= number:
                    active.append(waiting.pop())
                if active:
                    frame = _resized(frame, height)
                for cut in active:
                    cut.add(frame, rate, number == cut.last)
                active = [cut for cut in active if cut.last > number]
                number += 1
                if not waiting and not active:
                    return
        except FFmpegError as error:
            raise MediaError(f"{file} is damaged at frame {number} ({error.strerror}); download it again") from None
    latest = max(cut.last for cut in [*waiting, *active])
    raise MediaError(f"{file} has {number} frames, and frame {latest} is asked for (counted from 0)")


def _resized(frame: av.VideoFrame, height: int) -> av.VideoFrame:
    """At `height`, the width in proportion, both even as H.264 wants them."""
    tall = height or frame.height // 2 * 2
    wide = max(2, round(frame.width * tall / frame.height / 2) * 2)
    return frame if (wide, tall) == (frame.width, frame.height) else frame.reformat(width=wide, height=tall)


def _keep_height(file: Path, height: int) -> None:
    """Write the height of the first cut; raise ConfigError if this one is another, for files there stay as they are."""
    try:
        if not file.exists():
            replace_file(file, json.dumps({"height": height}).encode() + b"\n")
            return
        first = json.loads(read_file(file, 1 << 20, "correct it"))["height"]
    except OSError as error:
        raise DataError(f"{file} cannot be written or read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f'{file} is damaged, expected {{"height": PIXELS}}; correct it') from None
    if first != height:
        raise ConfigError(
            f"--height is {height}, and the clips of {file.parent} were cut with --height {first} ({file.name}); take "
            f"that, or another --out, or delete videos/, images/ and {file.name} there"
        )


def _remove_drafts(targets: Sequence[Path]) -> None:
    """What a killed run was writing."""
    wanted = set(targets)
    for folder in {target.parent for target in targets}:
        for draft in folder.glob(".*.tmp"):
            if draft.with_name(draft.name[1:].rsplit(".", 2)[0]) in wanted:
                draft.unlink(missing_ok=True)


def _is_there(file: Path) -> bool:
    # A power failure, unlike a kill, can leave the name of a file without its content.
    return file.exists() and file.stat().st_size > 0
