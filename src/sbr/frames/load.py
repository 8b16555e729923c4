"""Sample -> Frames: decode, sample and resize as the official code does, or read what was made so before."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from sbr.config.inputs import FramesConfig
from sbr.frames.cache import FrameCache
from sbr.frames.cache_entry import Pictures
from sbr.frames.clips import files_read, picture_of, read_clip
from sbr.frames.sampling import SIZE_FACTOR, frame_indices, resized_size
from sbr.types import FrameFolder, Frames, Shown, VideoFrame, VideoRange


def load_frames(
    sample: Shown,
    config: FramesConfig,
    factor: int = SIZE_FACTOR,
    threads: int = 1,
    cache: FrameCache | None = None,
) -> Frames:
    """The pictures of one sample, uint8 RGB at `resized_size(config, factor)`; `threads` of the video decoder.

    They are the same with and without a `cache`.  Raises MediaError, naming the file, for a medium that is missing,
    damaged or too short.
    """
    size = resized_size(config, factor)
    image_HWC = None if sample.image is None else load_image(sample.image, size, threads, cache).pixels
    if sample.video is None:
        return Frames(video_THWC=None, image_HWC=image_HWC, indices=(), fps=None, total=0)
    video = load_video(sample.video, config, size, threads, cache)
    return Frames(video.pixels, image_HWC, video.indices, video.fps, video.total)


def load_video(
    video: Path | VideoRange | FrameFolder,
    config: FramesConfig,
    size: tuple[int, int],
    threads: int = 1,
    cache: FrameCache | None = None,
) -> Pictures:
    """Frames of a clip by the rule of `config`, uint8 (T, *size, 3).  MediaError as `load_frames`."""
    choose = partial(frame_indices, config=config)

    def decode() -> Pictures:
        clip = read_clip(video, choose, threads)
        return Pictures(resize_video(clip.frames_THWC, size), clip.indices, clip.fps, clip.total)

    if cache is None:
        return decode()
    sampling = config.model_dump(exclude={"height", "width"})  # of the size counts what it was rounded to
    rule = {**_extent(video), "size": list(size), **sampling}
    return cache.load(_place(video), files_read(video, choose), rule, decode)


def load_image(
    image: Path | VideoFrame, size: tuple[int, int], threads: int = 1, cache: FrameCache | None = None
) -> Pictures:
    """A picture, uint8 (*size, 3).  MediaError as `load_frames`."""

    def decode() -> Pictures:
        return Pictures(resize_image(picture_of(image, threads), size))

    if cache is None:
        return decode()
    place = _place(image)
    rule = {"kind": "image"} if isinstance(image, Path) else {"kind": "video frame", "number": image.number}
    return cache.load(place, (place,), rule | {"size": list(size)}, decode)


def _place(medium: Path | VideoRange | FrameFolder | VideoFrame) -> Path:
    if isinstance(medium, Path):
        return medium
    return medium.folder if isinstance(medium, FrameFolder) else medium.file


def _extent(video: Path | VideoRange | FrameFolder) -> dict[str, Any]:
    """What of its file or folder the clip is, beside the sampling."""
    if isinstance(video, Path):
        return {"kind": "video"}
    extent: dict[str, Any] = {"first": video.first, "last": video.last}
    if isinstance(video, VideoRange):
        return {"kind": "range", **extent}
    return {"kind": "folder", **extent, "folder_fps": video.fps}


def resize_video(frames_THWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (T, H, W, 3) -> uint8 (T, *size, 3), bicubic with antialiasing.

    qwen_vl_utils uses torchvision.transforms.functional.resize, which is these lines: it computes in float32 and rounds
    once.  (Its v2 rounds between the two directions and differs in a tenth of the pixels.)  Importing torchvision takes
    longer than a small cache.  Frame by frame is bit-equal to all frames at once, several times as fast on a CPU, and
    holds one frame in float32 instead of all.
    """
    resized_THWC = np.empty((len(frames_THWC), *size, 3), dtype=np.uint8)
    for t, frame_HWC in enumerate(frames_THWC):
        frame_CHW = torch.from_numpy(frame_HWC).permute(2, 0, 1)
        floats_1CHW = frame_CHW[None].float()
        resized_1CHW = interpolate(floats_1CHW, size, mode="bicubic", align_corners=False, antialias=True)
        resized_THWC[t] = resized_1CHW[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    return resized_THWC


def resize_image(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An RGB picture -> uint8 (*size, 3) by Pillow's bicubic filter, as qwen_vl_utils does with images."""
    return np.array(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
