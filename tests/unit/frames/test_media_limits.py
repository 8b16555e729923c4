"""What a few bytes promise is compared with the limits before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames import decode_video as decoding
from sbr.frames import limits
from sbr.frames.clips import read_clip
from sbr.frames.decode_image import decode_image
from sbr.frames.limits import require_affordable
from sbr.frames.sampling import frame_count
from sbr.types import FrameFolder


def test_the_limits_hold_what_cameras_give() -> None:
    require_affordable("8K", 7680, 4320, frames=16)
    require_affordable("the paper", 256, 256, frames=768)
    with pytest.raises(MediaError, match="13,000 x 13,000 pixels, and 67,108,864 in all"):
        require_affordable("a picture", 13_000, 13_000)
    with pytest.raises(MediaError, match=r"30 frames .* lower frames\.max_frames"):
        require_affordable("a clip", 7680, 4320, frames=30)


def test_a_large_video_is_refused_before_a_frame_is_decoded(write_video, monkeypatch) -> None:
    file = write_video("a.mp4", 8)
    monkeypatch.setattr(limits, "MOST_PIXELS", 64 * 48 - 1)
    monkeypatch.setattr(decoding, "_decode", None)
    with pytest.raises(MediaError, match=r"a\.mp4 is 64 x 48 pixels"):
        decoding.decode_video(file, lambda total, fps: (0, 1))
    with pytest.raises(MediaError, match=r"a\.mp4 is 64 x 48 pixels"):
        decoding.probe_video(file)


def test_many_frames_are_refused_before_one_is_decoded(write_video, monkeypatch) -> None:
    file = write_video("a.mp4", 8)
    monkeypatch.setattr(limits, "MOST_BYTES", 4 * 64 * 48 * 3)
    assert len(decoding.decode_video(file, lambda total, fps: (0, 1, 2, 3)).indices) == 4
    monkeypatch.setattr(decoding, "_decode", None)
    with pytest.raises(MediaError, match="5 frames of 64 x 48 pixels are 46,080 bytes"):
        decoding.decode_video(file, lambda total, fps: (0, 1, 2, 3, 4))


def test_frames_that_grow_within_a_video_are_refused(write_video, tmp_path, monkeypatch) -> None:
    """Two MPEG-2 streams one after the other: the second has larger frames than the header of the first says."""
    small, large = (write_video(f"{n}.mpg", 8, size=(16 * n, 16 * n), codec="mpeg2video", fps=25) for n in (2, 9))
    both = tmp_path / "both.mpg"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    monkeypatch.setattr(decoding, "MOST_PIXELS", 64 * 64)
    with pytest.raises(MediaError, match=r"both\.mpg"):
        decoding.decode_video(both, lambda total, fps: (0, total - 1))


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "frame_0000000001.jpg")
    Image.new("RGB", (60, 40)).save(tmp_path / "frame_0000000002.jpg")
    folder = FrameFolder(tmp_path, 1, 2, 10.0)
    assert read_clip(folder, lambda total, fps: (0, 1)).frames_THWC.shape == (2, 40, 60, 3)
    monkeypatch.setattr(limits, "MOST_BYTES", 60 * 40 * 3)
    with pytest.raises(MediaError, match="2 frames of 60 x 40 pixels"):
        read_clip(folder, lambda total, fps: (0, 1))
    monkeypatch.setattr(limits, "MOST_PIXELS", 60 * 40 - 1)
    with pytest.raises(MediaError, match="60 x 40 pixels"):
        decode_image(tmp_path / "frame_0000000001.jpg")


def test_frame_rates_that_nobody_has() -> None:
    assert frame_count(1000, 1000.0, FramesConfig()) == 4
    with pytest.raises(MediaError, match="4,294,967,295 frames a second, more than 1,000"):
        frame_count(1000, 4294967295.0, FramesConfig())
