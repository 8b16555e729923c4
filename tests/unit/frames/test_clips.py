"""Clips that were not cut out: ranges of a video and folders of pictures are read as the cut clip would be."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from colour_videos import frame_colour, frame_number
from PIL import Image

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames.clips import picture_of, read_clip
from sbr.frames.load import load_frames
from sbr.frames.sampling import frame_indices
from sbr.types import FrameFolder, Sample, VideoFrame, VideoRange

OFFICIAL = partial(frame_indices, config=FramesConfig())


@pytest.fixture
def write_frames(tmp_path: Path):
    def write(*numbers: int, size: tuple[int, int] = (64, 48)) -> Path:
        for number in numbers:
            picture = Image.new("RGB", size, frame_colour(number % 125))
            picture.save(tmp_path / f"frame_{number:010d}.jpg", quality=95)
        return tmp_path

    return write


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_a_range_is_read_as_if_it_had_been_cut_out(write_video, name):
    file = write_video(name, 110, fps=10)
    clip = read_clip(VideoRange(file, 37, 96), OFFICIAL)
    expected = tuple(round(index) for index in np.linspace(0, 59, 12).tolist())  # 60 frames, 6 s, 2 a second
    assert (clip.indices, clip.fps, clip.total) == (expected, 10.0, 60)
    assert [frame_number(picture) for picture in clip.frames_THWC] == [37 + index for index in expected]


def test_the_whole_video_as_a_range_is_the_video(write_video):
    file = write_video("a.mp4", 30, noise=True)
    whole, ranged = read_clip(file, OFFICIAL), read_clip(VideoRange(file, 0, 29), OFFICIAL)
    assert (whole.indices, whole.fps, whole.total) == (ranged.indices, ranged.fps, ranged.total)
    assert np.array_equal(whole.frames_THWC, ranged.frames_THWC)


def test_a_range_behind_the_end_is_refused(write_video):
    file = write_video("a.mp4", 50)
    assert frame_number(read_clip(VideoRange(file, 20, 49), OFFICIAL).frames_THWC[-1]) == 49
    with pytest.raises(MediaError, match=r"a\.mp4 has 50 frames, and frames 20 to 50 are asked for"):
        read_clip(VideoRange(file, 20, 50), OFFICIAL)
    with pytest.raises(MediaError, match=r"a\.mp4: the clip has 1 frame"):
        read_clip(VideoRange(file, 20, 20), OFFICIAL)
    with pytest.raises(MediaError, match=r"b\.mp4 does not exist"):
        read_clip(VideoRange(file.with_name("b.mp4"), 0, 5), OFFICIAL)


def test_one_frame_of_a_video_is_a_picture(write_video):
    file = write_video("a.mp4", 50)
    for number in (0, 23, 49):
        assert frame_number(np.asarray(picture_of(VideoFrame(file, number)))) == number
    with pytest.raises(MediaError, match="has 50 frames, and frames 50 to 50"):
        picture_of(VideoFrame(file, 50))


@pytest.mark.parametrize(("fps", "count"), [(50.0, 4), (10.0, 12), (2.0, 16)])
def test_a_folder_is_read_by_its_frame_rate_and_only_what_is_wanted(write_frames, fps, count):
    wanted = [round(index) for index in np.linspace(0, 59, count).tolist()]
    folder = write_frames(*(36 + index for index in wanted))  # the other pictures are not there
    clip = read_clip(FrameFolder(folder, 36, 95, fps), OFFICIAL)
    assert (list(clip.indices), clip.fps, clip.total) == (wanted, fps, 60)
    assert [frame_number(picture) for picture in clip.frames_THWC] == [36 + index for index in wanted]


def test_what_is_wrong_with_a_folder_is_named(write_frames, tmp_path):
    folder = write_frames(*range(1, 9))
    with pytest.raises(MediaError, match=r"frame_0000000009\.jpg does not exist"):
        read_clip(FrameFolder(folder, 1, 9, 2.0), OFFICIAL)
    with pytest.raises(MediaError, match=r"frames 3 to 3 of .*the clip has 1 frame"):
        read_clip(FrameFolder(folder, 3, 3, 2.0), OFFICIAL)
    with pytest.raises(MediaError, match=r"P09_01 is not a folder of frames"):
        read_clip(FrameFolder(tmp_path / "P09_01", 1, 9, 2.0), OFFICIAL)
    write_frames(8, size=(32, 32))
    with pytest.raises(MediaError, match=r"frame size changes \(32x32, 64x48\)"):
        read_clip(FrameFolder(folder, 1, 8, 2.0), OFFICIAL)


def test_samples_of_every_kind_give_frames(write_video, write_frames):
    def sample(video, image) -> Sample:
        return Sample("1", "L1", "x", None, "s", "v", video, image, None, "q?", ("a", "b"), "A")

    config = FramesConfig(height=56, width=56)
    file, folder = write_video("a.mp4", 30), write_frames(*range(10, 26))
    alone = load_frames(sample(file, None), config)  # LongVideoBench
    assert alone.image_HWC is None
    assert alone.video_THWC is not None and alone.video_THWC.shape == (6, 56, 56, 3)
    ego4d = load_frames(sample(VideoRange(file, 5, 24), VideoFrame(file, 24)), config)
    assert ego4d.video_THWC is not None and ego4d.image_HWC is not None
    assert [frame_number(frame) for frame in ego4d.video_THWC] == [5, 11, 18, 24]
    assert frame_number(ego4d.image_HWC) == 24
    assert (ego4d.indices, ego4d.total, ego4d.fps) == ((0, 6, 13, 19), 20, 10.0)
    epic = load_frames(sample(FrameFolder(folder, 10, 25, 50.0), folder / "frame_0000000025.jpg"), config)
    assert epic.video_THWC is not None and epic.image_HWC is not None
    assert [frame_number(frame) for frame in epic.video_THWC] == [10, 15, 20, 25]
    assert frame_number(epic.image_HWC) == 25
    picture = load_frames(sample(None, VideoFrame(file, 3)), config)
    assert picture.video_THWC is None and picture.image_HWC is not None and frame_number(picture.image_HWC) == 3
