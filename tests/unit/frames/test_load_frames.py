"""Sample -> Frames: indices, order, size and the official resizing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from colour_videos import frame_number
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames.decode_video import decode_video
from sbr.frames.load import load_frames, resize_video
from sbr.types import Sample


def sample_of(video: Path | None, image: Path) -> Sample:
    return Sample(
        sample_id="1",
        split="L1",
        domain="Daily life",
        scenario=None,
        video_source="EpicKitchens",
        video_id="P01_13",
        video=video,
        image=image,
        task_goal="store cereal",
        question="what next?",
        options=("a", "b", "c", "d"),
        gold="A",
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "now.png")
    return tmp_path / "now.png"


def test_frames_of_a_known_video(write_video, image):
    frames = load_frames(sample_of(write_video("a.mp4", 30), image), FramesConfig())
    assert frames.video_THWC is not None and frames.video_THWC.shape == (6, 252, 252, 3)
    assert frames.video_THWC.dtype == frames.image_HWC.dtype == np.uint8 and frames.image_HWC.shape == (252, 252, 3)
    assert (frames.indices, frames.fps, frames.total) == ((0, 6, 12, 17, 23, 29), 10.0, 30)
    assert tuple(frame_number(frame) for frame in frames.video_THWC) == frames.indices


def test_other_settings_and_a_size_that_is_not_square(write_video, image):
    config = FramesConfig(fps=1.0, min_frames=2, max_frames=8, height=100, width=60)
    frames = load_frames(sample_of(write_video("a.mp4", 60), image), config, threads=2)
    assert frames.video_THWC is not None and frames.video_THWC.shape == (6, 112, 56, 3)
    assert frames.image_HWC.shape == (112, 56, 3) and frames.indices == (0, 12, 24, 35, 47, 59)


def test_image_alone(image):
    assert load_frames(sample_of(None, image), FramesConfig(), factor=32).image_HWC.shape == (256, 256, 3)
    frames = load_frames(sample_of(None, image), FramesConfig(height=84, width=84))
    assert frames.video_THWC is None and (frames.indices, frames.fps, frames.total) == ((), None, 0)
    with Image.open(image) as picture:
        expected = picture.resize((84, 84), resample=Image.Resampling.BICUBIC)
    assert np.array_equal(frames.image_HWC, np.array(expected))


@pytest.mark.parametrize("size", [(252, 252), (84, 56), (90, 160)])
def test_video_resizing_is_bicubic_with_antialiasing(write_video, size):
    """Against torchvision, which the official code calls: bit for bit, all frames at once."""
    video_THWC = decode_video(
        write_video("a.mp4", 4, size=(160, 90), noise=True), lambda n, _: tuple(range(n))
    ).frames_THWC
    whole_TCHW = torch.from_numpy(video_THWC).permute(0, 3, 1, 2)
    expected_TCHW = functional.resize(whole_TCHW, list(size), InterpolationMode.BICUBIC, antialias=True)
    assert np.array_equal(resize_video(video_THWC, size), expected_TCHW.permute(0, 2, 3, 1).numpy())


def test_errors_name_the_file(write_video, image, tmp_path):
    with pytest.raises(MediaError, match=r"video .*gone.mp4 does not exist"):
        load_frames(sample_of(tmp_path / "gone.mp4", image), FramesConfig())
    with pytest.raises(MediaError, match=r"image .*gone.png does not exist"):
        load_frames(sample_of(None, tmp_path / "gone.png"), FramesConfig())
    with pytest.raises(MediaError, match=r"video .*short.mp4: the clip has 1 frame"):
        load_frames(sample_of(write_video("short.mp4", 1), image), FramesConfig())
