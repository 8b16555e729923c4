"""One entry for every form in which a clip or a picture is kept; decode_image.py and decode_video.py open the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sbr.errors import MediaError
from sbr.frames.decode_image import decode_image
from sbr.frames.decode_video import Choose, Clip, decode_range, decode_video, stack_frames
from sbr.frames.limits import require_affordable
from sbr.types import FrameFolder, VideoFrame, VideoRange


def read_clip(video: Path | VideoRange | FrameFolder, choose: Choose, threads: int = 1) -> Clip:
    """The frames that `choose` asks for, whatever the clip is kept as.

    Raises MediaError, naming the file, for a medium that is missing, damaged or too short.
    """
    if isinstance(video, VideoRange):
        return decode_range(video, choose, threads)
    if isinstance(video, FrameFolder):
        return _read_folder(video, choose)
    return decode_video(video, choose, threads)


def picture_of(image: Path | VideoFrame, threads: int = 1) -> Image.Image:
    """The current observation: a picture file, or one frame of a video.  Raises MediaError as `read_clip`."""
    if isinstance(image, Path):
        return decode_image(image)
    alone = VideoRange(image.file, image.number, image.number)
    return Image.fromarray(decode_range(alone, lambda total, fps: (0,), threads).frames_THWC[0])


def files_read(video: Path | VideoRange | FrameFolder, choose: Choose) -> tuple[Path, ...]:
    """The files whose content decides what `read_clip` gives: one, or of a folder the pictures that are taken.

    Raises MediaError for a folder that is missing or whose range is too short.
    """
    if isinstance(video, FrameFolder):
        return _pictures(video, _chosen(video, choose))
    return (video.file if isinstance(video, VideoRange) else video,)


def _read_folder(clip: FrameFolder, choose: Choose) -> Clip:
    """Only the pictures that are wanted are opened."""
    indices = _chosen(clip, choose)
    pictures: list[np.ndarray] = []
    for file in _pictures(clip, indices):
        if pictures:  # all must have the size of the first
            height, width, _ = pictures[0].shape
            require_affordable(f"frames of {clip.folder}", width, height, len(indices))
        pictures.append(np.asarray(decode_image(file)))
    return Clip(stack_frames(pictures, f"frames of {clip.folder}"), indices, clip.fps, _length(clip))


def _chosen(clip: FrameFolder, choose: Choose) -> tuple[int, ...]:
    if not clip.folder.is_dir():
        raise MediaError(
            f"{clip.folder} is not a folder of frames. Unpack the RGB frames of that video there: frame_0000000001.jpg "
            "and so on."
        )
    try:
        return choose(_length(clip), clip.fps)
    except MediaError as error:
        raise MediaError(f"frames {clip.first} to {clip.last} of {clip.folder}: {error}.") from None


def _pictures(clip: FrameFolder, indices: tuple[int, ...]) -> tuple[Path, ...]:
    return tuple(clip.file(clip.first + index) for index in indices)


def _length(clip: FrameFolder) -> int:
    return clip.last - clip.first + 1
