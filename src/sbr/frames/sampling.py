"""Which frames of a clip the model sees, and at what size: the official rule, as pure functions.

Source: `smart_nframes` and `smart_resize` of qwen_vl_utils, with the constants of the copy in the official repository
(2 frames a second, 4 to 16 frames, sizes in multiples of 28; 32 for Qwen3-VL, whose patches are larger).
"""

from __future__ import annotations

import math

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames.limits import FASTEST

FRAME_FACTOR = 2
"""Frames of one temporal patch in every model family: the number of frames is a multiple."""

SIZE_FACTOR = 28
"""Pixels of one visual token of Qwen2-VL in each direction (patch 14, merged 2 x 2)."""


def frame_count(total: int, fps: float, config: FramesConfig) -> int:
    """How many frames of a clip of `total` frames at `fps` frames a second are taken.

    `config.fps` frames a second of video, at least `min_frames`, at most `max_frames` (which wins if they
    contradict), never more than the clip has, rounded down to an even number.  MediaError if the clip has fewer than 2.
    """
    if total < FRAME_FACTOR:
        raise MediaError(
            f"the clip has {total} frame{'s' if total != 1 else ''} and at least {FRAME_FACTOR} are needed (the model "
            "reads frames in pairs); use a longer clip, or an empty task_progress_metadata to ask with the image alone"
        )
    if not (math.isfinite(fps) and fps > 0):
        raise MediaError(f"the frame rate of the clip is {fps}, not a positive number; re-encode the clip")
    if fps > FASTEST:
        raise MediaError(f"the clip declares {fps:,.0f} frames a second, more than {FASTEST:,}; re-encode the clip")
    wanted = total / fps * config.fps  # in the order of the official code: 100 / 30 * 2 is not 100 * 2 / 30 in floats
    least = math.ceil(config.min_frames / FRAME_FACTOR) * FRAME_FACTOR
    most = math.floor(config.max_frames / FRAME_FACTOR) * FRAME_FACTOR
    return math.floor(min(max(wanted, least), most, total) / FRAME_FACTOR) * FRAME_FACTOR


def frame_indices(total: int, fps: float, config: FramesConfig) -> tuple[int, ...]:
    """The frames taken, spread evenly from the first to the last: round(linspace(0, total - 1, n)).

    >>> frame_indices(30, 10.0, FramesConfig())
    (0, 6, 12, 17, 23, 29)

    Computed with integers.  n is even, so i * (total - 1) / (n - 1) is never exactly between two frames, and the
    float32 linspace of the official code gives the same (tested to 100,000 frames; at some millions it drifts).
    MediaError as `frame_count`.
    """
    steps = frame_count(total, fps, config) - 1
    return tuple((2 * i * (total - 1) + steps) // (2 * steps) for i in range(steps + 1))


def resized_size(config: FramesConfig, factor: int = SIZE_FACTOR) -> tuple[int, int]:
    """(height, width) of every frame and of the image: the nearest multiples of `factor`, at least `factor`.

    `factor` is that of the checkpoint, `PromptEncoder.size_factor`.

    >>> resized_size(FramesConfig(height=256, width=256))
    (252, 252)
    """
    return _to_factor(config.height, factor), _to_factor(config.width, factor)


def _to_factor(pixels: int, factor: int) -> int:
    return max(factor, round(pixels / factor) * factor)
