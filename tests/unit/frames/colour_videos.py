"""Flat colours that tell the frames of a test video apart, also after lossy coding."""

from __future__ import annotations

import numpy as np

LEVELS = (30, 80, 130, 180, 230)


def frame_colour(i: int) -> tuple[int, int, int]:
    """Red, green and blue of frame i: 125 colours at least 50 apart in one channel."""
    return LEVELS[i % 5], LEVELS[i // 5 % 5], LEVELS[i // 25 % 5]


def frame_number(picture_HWC: np.ndarray) -> int:
    """Which frame (0-124) has this colour; fails on a picture that is no flat colour of the table."""
    mean_C = picture_HWC.reshape(-1, 3).astype(float).mean(axis=0)
    digits = [int(np.abs(np.array(LEVELS) - value).argmin()) for value in mean_C]
    number = digits[0] + 5 * digits[1] + 25 * digits[2]
    assert np.abs(picture_HWC.astype(float) - frame_colour(number)).max() < 20
    return number
