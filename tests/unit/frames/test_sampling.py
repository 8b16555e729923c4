"""Frame indices and sizes against the official rule, written out independently."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames.sampling import frame_indices, resized_size

RATES = (0.5, 1.0, 8.0, 10.0, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 50.0, 59.9400599400599, 60.0, 120.0)


def reference(total: int, fps: float, rate: float, least: int, most: int) -> list[int]:
    """The rule of qwen_vl_utils in steps of its own: clamp, round down to even, float32 linspace, round, to int."""
    clamped = min(total, most // 2 * 2, max((least + 1) // 2 * 2, total / fps * rate))
    n = int(clamped) - int(clamped) % 2
    return torch.linspace(0, total - 1, n).round().long().tolist()


def test_every_short_clip_at_the_official_setting():
    for total in range(2, 700):
        for fps in RATES:
            assert list(frame_indices(total, fps, FramesConfig())) == reference(total, fps, 2.0, 4, 16), (total, fps)


@settings(max_examples=200, deadline=None)
@given(
    total=st.integers(2, 100_000),
    fps=st.one_of(st.sampled_from(RATES), st.floats(0.1, 240)),
    rate=st.sampled_from((0.25, 0.5, 1.0, 2.0, 4.0)),
    least=st.integers(2, 12),
    most=st.integers(2, 33),
)
def test_any_clip_at_any_setting(total, fps, rate, least, most):
    config = FramesConfig(fps=rate, min_frames=least, max_frames=most)
    indices = frame_indices(total, fps, config)
    assert list(indices) == reference(total, fps, rate, least, most)
    assert len(indices) % 2 == 0 and indices[0] == 0 and indices[-1] == total - 1
    assert all(a < b for a, b in pairwise(indices))


@pytest.mark.parametrize(
    ("total", "fps", "indices"),
    [
        (2, 30.0, (0, 1)),
        (3, 30.0, (0, 2)),
        (4, 30.0, (0, 1, 2, 3)),
        (5, 30.0, (0, 1, 3, 4)),  # 4/3 -> 1, 8/3 -> 3
        (30, 10.0, (0, 6, 12, 17, 23, 29)),  # 3 s: 6 frames, 5.8 apart
        (48, 8.0, (0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47)),  # 6 s: 12 frames, 47/11 apart
        (240, 30.0, (0, 16, 32, 48, 64, 80, 96, 112, 127, 143, 159, 175, 191, 207, 223, 239)),
    ],
)
def test_hand_computed(total, fps, indices):
    assert frame_indices(total, fps, FramesConfig()) == indices


@pytest.mark.parametrize(("total", "text"), [(1, "has 1 frame and at least 2"), (0, "has 0 frames and at least 2")])
def test_too_short_a_clip(total, text):
    with pytest.raises(MediaError, match=text):
        frame_indices(total, 30.0, FramesConfig())


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_impossible_frame_rate(fps):
    with pytest.raises(MediaError, match="frame rate"):
        frame_indices(100, fps, FramesConfig())


@pytest.mark.parametrize(
    ("asked", "given"),
    [(256, 252), (28, 28), (41, 28), (43, 56), (84, 84), (224, 224), (265, 252), (266, 280), (294, 280)],
)
def test_sizes_are_multiples_of_28(asked, given):
    """Half-way cases go to the even multiple, as Python's round does in the official code: 9.5 -> 10, 10.5 -> 10."""
    assert resized_size(FramesConfig(height=asked, width=256)) == (given, 252)
    assert resized_size(FramesConfig(height=256, width=asked)) == (252, given)


def test_sizes_are_multiples_of_32_for_larger_patches():
    """qwen_vl_utils with image_patch_size=16: patches of 16 pixels, merged 2 x 2."""
    assert resized_size(FramesConfig(height=256, width=300), factor=32) == (256, 288)
    assert resized_size(FramesConfig(height=28, width=48), factor=32) == (32, 64)
