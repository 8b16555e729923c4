"""The only place where videos are opened, through PyAV.

Videos are decoded forward from the first frame to the last: on some containers seeking returns wrong frames without a
word, decoding forward never does.  The number of frames in a container's header may be absent (Matroska), count
frames that an edit list hides (clips cut without re-encoding) or be wrong, so the frames that come out are counted.
The header or a count of the packets is only a first guess, which lets one pass both count and keep what is wanted; if
it was wrong a second pass takes the frames that belong to the true number.

A file that ends early is not a short clip: it is an error, as far as the container tells.  Its signs are a packet cut
short, an index that points behind the end of the file or promises packets that are not there, a track much shorter
than a Matroska file says it is, and frames the decoder had to make up.  A transport stream that lost its end and a
Matroska file damaged in its middle may show none of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from sbr.errors import MediaError
from sbr.frames.content import describe, remedy, require_file
from sbr.frames.limits import MOST_PIXELS, require_affordable
from sbr.types import VideoRange

logger = logging.getLogger(__name__)

CONTAINERS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,h264,hevc"
"""FFmpeg demuxers that may be used.  Play lists are not among them: they would open other files."""

LATE = 0.5
"""Seconds by which the last frame of a Matroska video may end before the duration declared for its track."""

Choose = Callable[[int, float], tuple[int, ...]]
"""(frames in the clip, frame rate) -> ascending indices of the frames to keep."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames of a clip at its own size (uint8, RGB, upright)."""

    frames_THWC: np.ndarray
    indices: tuple[int, ...]
    """Counted from the first frame of the clip."""
    fps: float
    total: int
    """Frames of the clip; of a whole file, those that can be decoded."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What can be said about a video without decoding all of it; `frames` is a first guess, see above."""

    frames: int
    fps: float
    width: int
    """Pixels of a stored frame, before any rotation flag."""
    height: int


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a container says about its video before anything is decoded."""

    fps: float
    frames: int
    """Frames to expect: by the index of the file, or else by counting packets."""
    indexed: int
    """Packets the index promises; 0 without a complete index."""
    width: int
    height: int


def decode_video(file: Path, choose: Choose, threads: int = 1) -> Clip:
    """Decode `file` and keep the frames `choose` asks for; only these are converted to RGB.

    `threads` is FFmpeg's own thread count of the decoder (0: as many as it likes); one is best when several videos
    are decoded at once.  Raises MediaError, naming the file, what was found and what to do, if the file is missing, no
    video, damaged or cut short; an error of `choose` (a clip too short) gets the name of the file.
    """
    require_file(file, "video")
    facts = _inspect(file)
    expected = facts.frames
    if expected < 2:  # too few to be asked for anything: find out whether that is so
        expected = _decode(file, (), facts, threads)[1]
    indices = _choose(file, choose, expected, facts)
    pictures, total = _decode(file, indices, facts, threads)
    if total != expected:
        logger.info("%s: %d frames expected from the container, %d decoded; reading again", file, expected, total)
        indices = _choose(file, choose, total, facts)
        pictures, _ = _decode(file, indices, facts, threads)
    return Clip(stack_frames(pictures, f"video {file}"), indices, facts.fps, total)


def decode_range(clip: VideoRange, choose: Choose, threads: int = 1) -> Clip:
    """As `decode_video` of the clip that `clip` would be if it had been cut out: `choose` gets its length.

    Decodes from the first frame of the file to the last one that is wanted; what comes behind it is not looked at.
    Raises MediaError as `decode_video`, and when the file ends before `clip.last` is reached.
    """
    require_file(clip.file, "video")
    facts = _inspect(clip.file)
    total = clip.last - clip.first + 1
    indices = _choose(clip.file, choose, total, facts)
    wanted = tuple(clip.first + index for index in indices)
    pictures, count = _decode(clip.file, wanted, facts, threads, stop=wanted[-1] + 1)
    if len(pictures) < len(wanted):
        raise MediaError(
            f"video {clip.file} has {count} frames, and frames {clip.first} to {clip.last} are asked for (counted from "
            "0). Compare it with the recording that the annotations speak of: another version has another frame rate "
            "or length."
        )
    return Clip(stack_frames(pictures, f"video {clip.file}"), indices, facts.fps, total)


def stack_frames(pictures: list[np.ndarray], name: str) -> np.ndarray:
    """(T, H, W, 3); MediaError, beginning with `name`, if the pictures are not all of one size."""
    if len({picture.shape for picture in pictures}) > 1:
        sizes = ", ".join(sorted({f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures}))
        raise MediaError(f"{name}: the frame size changes ({sizes}); re-encode the clip at one size.")
    return np.stack(pictures)


def probe_video(file: Path) -> VideoFacts:
    """Read every packet of `file` and decode its key frames only: far cheaper than all frames, and it finds files that
    are no video, cut short, not wholly there or without a decoder.  Damage between key frames needs `decode_video`.

    Raises MediaError as `decode_video` does.
    """
    require_file(file, "video")
    facts = _inspect(file)
    packets = pictures = 0
    last: float | None = None
    with open_video(file) as container:
        stream = video_stream(container, file)
        codec = stream.codec_context
        codec.thread_count, codec.skip_frame = 1, "NONKEY"
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise _damaged(file, f"packet {packets} of {facts.frames} is cut short or damaged")
                packets += packet.size > 0
                if packet.pts is not None:
                    time = float(packet.pts * packet.time_base)
                    last = time if last is None else max(last, time)
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise _damaged(file, f"the key frame at packet {packets} cannot be decoded whole")
                    pictures += 1
        except FFmpegError as error:
            raise _damaged(file, f"{error.strerror}, at packet {packets} of {facts.frames}") from None
        if packets < facts.indexed:
            raise _damaged(file, f"its index promises {facts.indexed} packets and {packets} are there")
        _refuse_early_end(file, stream, last)
        size = codec.width, codec.height
    # A file without key frames (periodic intra refresh), or of a frame or two: only decoding tells.
    frames = facts.frames if pictures and facts.frames > 1 else _decode(file, (), facts, 1)[1]
    return VideoFacts(frames, facts.fps, *size)


def open_video(file: Path) -> InputContainer:
    """The container, to be closed.  Raises MediaError if it cannot be opened, naming what the file holds."""
    # max_pixels: opening already decodes a frame or two.
    options = {"format_whitelist": CONTAINERS, "max_pixels": str(MOST_PIXELS)}
    try:
        return av.open(str(file), options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise MediaError(
            f"video {file} is no video, damaged or cut short ({error.strerror}): it holds {describe(file)}. "
            f"{remedy(file)}."
        ) from None


def video_stream(container: InputContainer, file: Path) -> VideoStream:
    """The first video track of `file`, ready to be decoded.  Raises MediaError if there is none that can be."""
    if not container.streams.video:
        raise MediaError(f"video {file} has no video track; {describe(file)}. {remedy(file)}.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise MediaError(
            f"video {file}: this FFmpeg has no decoder for its video track, or the track's header is damaged; "
            f"{describe(file)}. Convert it to H.264. {remedy(file)}."
        )
    require_affordable(f"video {file}", stream.codec_context.width, stream.codec_context.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # later frames may be larger
    return stream


def _inspect(file: Path) -> _Facts:
    with open_video(file) as container:
        stream = video_stream(container, file)
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise MediaError(f"video {file} declares no frame rate; re-encode the clip.")
        index = stream.index_entries
        if stream.frames and len(index) == stream.frames:
            _refuse_short_file(file, max(entry.pos + entry.size for entry in index))
            frames = sum(not entry.is_discard for entry in index)
            indexed = sum(entry.size > 0 for entry in index)
            return _Facts(float(rate), frames, indexed, stream.codec_context.width, stream.codec_context.height)
        try:
            frames = sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))
        except FFmpegError as error:
            raise _damaged(file, str(error.strerror)) from None
        return _Facts(float(rate), frames, 0, stream.codec_context.width, stream.codec_context.height)


def _refuse_short_file(file: Path, needed: int) -> None:
    size = file.stat().st_size
    if needed > size:
        raise _damaged(file, f"its index speaks of {needed:,} bytes and the file has {size:,}")


def _choose(file: Path, choose: Choose, total: int, facts: _Facts) -> tuple[int, ...]:
    try:
        indices = choose(total, facts.fps)
    except MediaError as error:
        raise MediaError(f"video {file}: {error}.") from None
    require_affordable(f"video {file}", facts.width, facts.height, len(indices))
    return indices


def _decode(
    file: Path, wanted: tuple[int, ...], facts: _Facts, threads: int, stop: int | None = None
) -> tuple[list[np.ndarray], int]:
    """The wanted frames and the number of frames seen, in one pass from the first to the last, or up to `stop`."""
    keep = set(wanted)
    pictures: list[np.ndarray] = []
    count = packets = 0
    last: float | None = None
    with open_video(file) as container:
        stream = video_stream(container, file)
        stream.codec_context.thread_count = threads
        if threads != 1:
            stream.thread_type = "AUTO"
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise _damaged(file, f"a packet is cut short or damaged after frame {count} of {facts.frames}")
                packets += packet.size > 0
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise _damaged(file, f"frame {count} of {facts.frames} cannot be decoded whole")
                    if count in keep:
                        pictures.append(_rgb(frame))
                    count += 1
                    last = frame.time
                    if count == stop:
                        return pictures, count
        except FFmpegError as error:
            raise _damaged(file, f"{error.strerror}, after frame {count} of {facts.frames}") from None
        if packets < facts.indexed:
            raise _damaged(file, f"its index promises {facts.indexed} packets and {packets} are there")
        _refuse_early_end(file, stream, last)
    return pictures, count


def _refuse_early_end(file: Path, stream: VideoStream, last: float | None) -> None:
    """`last` is the time of the last frame in seconds, None if it has none."""
    declared = _matroska_duration(stream)
    rate = stream.average_rate
    if declared is None or last is None or not rate:
        return
    end = last + float(1 / rate)
    if declared - end > LATE:
        raise _damaged(file, f"it ends after {end:.1f} s and its header says {declared:.1f} s")


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    picture = frame.to_ndarray(format="rgb24")
    # A display matrix says how a player turns the picture (degrees counter-clockwise); numpy turns the same way.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _matroska_duration(stream: VideoStream) -> float | None:
    """Seconds the muxer wrote for this track, tag DURATION such as "00:00:10.333000000"; None without one."""
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _damaged(file: Path, why: str) -> MediaError:
    return MediaError(f"video {file} is damaged or cut short: {why}; {describe(file)}. {remedy(file)}.")
