"""Sample -> Frames: decode, sample and resize as the official code does."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from sbr.config import FramesConfig
from sbr.frames.clips import picture_of, read_clip
from sbr.frames.sampling import SIZE_FACTOR, frame_indices, resized_size
from sbr.types import Frames, Shown


def load_frames(sample: Shown, config: FramesConfig, factor: int = SIZE_FACTOR, threads: int = 1) -> Frames:
    """The pictures of one sample, uint8 RGB at `resized_size(config, factor)`; `threads` of the video decoder.

    Raises MediaError, naming the file, for a medium that is missing, damaged or too short.
    """
    size = resized_size(config, factor)
    image_HWC = None if sample.image is None else resize_image(picture_of(sample.image, threads), size)
    if sample.video is None:
        return Frames(video_THWC=None, image_HWC=image_HWC, indices=(), fps=None, total=0)
    clip = read_clip(sample.video, partial(frame_indices, config=config), threads)
    video_THWC = resize_video(clip.frames_THWC, size)
    return Frames(video_THWC=video_THWC, image_HWC=image_HWC, indices=clip.indices, fps=clip.fps, total=clip.total)


def resize_video(frames_THWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (T, H, W, 3) -> uint8 (T, *size, 3), bicubic with antialiasing.

    qwen_vl_utils uses torchvision.transforms.functional, which computes in float32 and rounds once.  The v2 function
    rounds between the two directions and differs in a tenth of the pixels.  Frame by frame is bit-equal to all frames
    at once, several times as fast on a CPU, and holds one frame in float32 instead of all.
    """
    resized_THWC = np.empty((len(frames_THWC), *size, 3), dtype=np.uint8)
    for t, frame_HWC in enumerate(frames_THWC):
        frame_CHW = torch.from_numpy(frame_HWC).permute(2, 0, 1)
        resized_CHW = vision.resize(frame_CHW, list(size), InterpolationMode.BICUBIC, antialias=True)
        resized_THWC[t] = resized_CHW.permute(1, 2, 0).numpy()
    return resized_THWC


def resize_image(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An RGB picture -> uint8 (*size, 3) by Pillow's bicubic filter, as qwen_vl_utils does with images."""
    return np.array(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
