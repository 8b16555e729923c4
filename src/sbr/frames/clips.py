"""One entry for every form in which a clip or a picture is kept; the files are opened by sbr.frames.decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sbr.errors import MediaError
from sbr.frames.decode import Choose, Clip, decode_image, decode_range, decode_video, stack_frames
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


def _read_folder(clip: FrameFolder, choose: Choose) -> Clip:
    """Only the pictures that are wanted are opened."""
    if not clip.folder.is_dir():
        raise MediaError(
            f"{clip.folder} is not a folder of frames. Unpack the RGB frames of that video there: frame_0000000001.jpg "
            "and so on."
        )
    total = clip.last - clip.first + 1
    try:
        indices = choose(total, clip.fps)
    except MediaError as error:
        raise MediaError(f"frames {clip.first} to {clip.last} of {clip.folder}: {error}.") from None
    pictures = [np.asarray(decode_image(clip.file(clip.first + index))) for index in indices]
    return Clip(stack_frames(pictures, f"frames of {clip.folder}"), indices, clip.fps, total)
