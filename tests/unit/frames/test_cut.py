"""Clips and pictures cut out of recordings whose frames carry their own number."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sbr.data.build.splits import Medium
from sbr.errors import ConfigError, DataError, MediaError
from sbr.frames import cut
from sbr.frames.cut import cut_media, cut_video, find_videos
from sbr.frames.decode_video import decode_video

BITS = 8


def write_recording(file: Path, frames: int, fps: int = 30, size: tuple[int, int] = (64, 64)) -> Path:
    """Frame n shows n in binary: eight stripes, black or white."""
    height, width = size
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            stripes = [255 * (n >> bit & 1) for bit in range(BITS)]
            picture = np.repeat(np.array(stripes, np.uint8), width // BITS)
            pixels = np.broadcast_to(picture[None, :, None], (height, width, 3)).copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


def number(picture: np.ndarray) -> int:
    wide = picture.shape[1] // BITS
    return sum((picture[:, b * wide + 1 : (b + 1) * wide - 1].mean() > 127) << b for b in range(BITS))


def numbers(file: Path) -> list[int]:
    clip = decode_video(file, lambda total, fps: tuple(range(total)))
    return [number(frame) for frame in clip.frames_THWC]


def clip(first: int, last: int, seconds: tuple[float, float] | None = None, video: str = "v") -> Medium:
    return Medium(f"videos/Ego4D/{video}_{first}_{last}.mp4", video, first, last, *(seconds or (None, None)))


def picture(frame: int, seconds: float | None = None, video: str = "v") -> Medium:
    return Medium(f"images/Ego4D/{video}_{frame}.png", video, frame, frame, seconds, seconds)


def test_frames_are_those_that_were_asked_for(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "v.mp4", 120)
    media = [
        clip(0, 119),
        clip(-1, 40),
        clip(10, 40),
        clip(33, 90),
        clip(90, 95),
        picture(40),
        picture(0),
        picture(119),
    ]
    report = cut_media(tmp_path / "root", media, {"v": recording}, 0, 1)
    assert (report.made, report.there, report.ok) == (8, 0, True)
    for medium in media:
        file = tmp_path / "root" / medium.file
        if file.suffix == ".png":
            assert number(np.asarray(Image.open(file))) == medium.last_frame
        else:
            assert numbers(file) == list(range(max(medium.first_frame, 0), medium.last_frame + 1))
    assert not list((tmp_path / "root").rglob("*.tmp"))


@pytest.mark.parametrize("fps", [25, 30, 50])
def test_times_decide_where_they_are_known(tmp_path: Path, fps: int) -> None:
    """EPIC-KITCHENS counts frames at 60 a second; the recording has its own rate."""
    recording = write_recording(tmp_path / "v.mp4", 4 * fps, fps)
    media = [clip(60, 180, (1.0, 3.0)), picture(180, 3.0), picture(240, 4.0)]
    assert cut_media(tmp_path, media, {"v": recording}, 0, 1).ok
    assert numbers(tmp_path / media[0].file) == list(range(fps, 3 * fps))  # the frame of second 3 begins after it
    assert number(np.asarray(Image.open(tmp_path / media[1].file))) == 3 * fps - 1
    assert number(np.asarray(Image.open(tmp_path / media[2].file))) == 4 * fps - 1  # the very end


def test_more_clips_at_once_than_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "OPEN_CLIPS", 3)
    recording = write_recording(tmp_path / "v.mp4", 60)
    media = [clip(start, start + 20) for start in range(0, 36, 4)]
    assert cut_video(tmp_path, media, recording, 0) == {}
    assert all(numbers(tmp_path / m.file) == list(range(m.first_frame, m.last_frame + 1)) for m in media)


def test_height_and_even_width(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "v.mp4", 10, size=(64, 120))
    assert cut_media(tmp_path, [clip(0, 9), picture(9)], {"v": recording}, 34, 1).ok
    assert decode_video(tmp_path / "videos/Ego4D/v_0_9.mp4", lambda n, f: (0,)).frames_THWC.shape[1:3] == (34, 64)
    assert Image.open(tmp_path / "images/Ego4D/v_9.png").size == (64, 34)


def test_clips_of_two_heights_are_not_mixed(tmp_path: Path) -> None:
    gone = {"v": tmp_path / "gone.mp4"}
    assert not cut_media(tmp_path, [clip(0, 9)], {}, 34, 1).made
    assert json.loads((tmp_path / "cut.json").read_text()) == {"height": 34}
    with pytest.raises(ConfigError, match=r"--height is 0, and the clips of .* were cut with --height 34"):
        cut_media(tmp_path, [clip(0, 9)], gone, 0, 1)
    assert cut_media(tmp_path, [clip(0, 9)], {}, 34, 1).without_video == {"v": 1}
    (tmp_path / "cut.json").write_text("[]")
    with pytest.raises(DataError, match=r"cut\.json is damaged"):
        cut_media(tmp_path, [clip(0, 9)], gone, 34, 1)


def test_what_is_there_is_kept_and_the_rest_is_cut(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "v.mp4", 30)
    media = [clip(0, 9), clip(5, 20), picture(20)]
    seen: list[tuple[int, int]] = []
    assert cut_media(tmp_path, media[:1], {"v": recording}, 0, 1).made == 1
    (tmp_path / media[1].file).write_bytes(b"")  # a name without content, as after a power failure
    before = (tmp_path / media[0].file).stat().st_mtime_ns
    report = cut_media(tmp_path, media, {"v": recording}, 0, 1, lambda done, total: seen.append((done, total)))
    assert (report.made, report.there) == (2, 1) and seen[-1] == (3, 3)
    assert (tmp_path / media[0].file).stat().st_mtime_ns == before


def test_recordings_that_are_missing_short_or_damaged(tmp_path: Path) -> None:
    good = write_recording(tmp_path / "in" / "v.mp4", 30)
    broken = tmp_path / "in" / "w.mp4"
    broken.write_bytes(b"not a video")
    media = [clip(0, 9), clip(20, 30), clip(0, 9, video="w"), clip(0, 9, video="x"), picture(3, video="x")]
    found = find_videos(tmp_path / "in", {"v", "w", "x"})
    assert found == {"v": good, "w": broken}
    report = cut_media(tmp_path / "root", media, found, 0, 2)
    assert report.made == 1 and report.without_video == {"x": 2} and not report.ok
    assert report.failed[media[1].file].endswith("has 30 frames, and frame 30 is asked for (counted from 0)")
    assert "is no video" in report.failed[media[2].file]
    assert not (tmp_path / "root" / media[1].file).exists()
    assert not list((tmp_path / "root").rglob("*.tmp"))


@pytest.mark.parametrize("medium", [clip(0, 29), picture(29)])
@pytest.mark.parametrize("room", [0, 60, 700])
def test_a_full_disk_is_not_a_damaged_recording(tmp_path: Path, medium: Medium, room: int) -> None:
    recording = write_recording(tmp_path / "v.mp4", 30)
    if medium.file.endswith("png"):
        room //= 10
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # writing more fails with an OSError
        with pytest.raises(DataError) as caught:
            cut_video(tmp_path, [medium], recording, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, MediaError)
    assert f"{tmp_path / medium.file} cannot be written" in str(caught.value) and "make room" in str(caught.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file != recording]
    assert cut_video(tmp_path, [medium], recording, 0) == {}


def test_recordings_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    one = write_recording(tmp_path / "P01" / "videos" / "P01_13.MP4", 2)
    write_recording(tmp_path / "P01" / "videos" / "P01_14.MP4", 2)
    assert find_videos(tmp_path, {"P01_13"}) == {"P01_13": one}
    write_recording(tmp_path / "other" / "P01_13.mp4", 2)
    with pytest.raises(DataError, match="P01_13 is there twice"):
        find_videos(tmp_path, {"P01_13"})
    with pytest.raises(DataError, match="not a folder"):
        find_videos(tmp_path / "none", {"P01_13"})


KILLED = """
import sys
from pathlib import Path
from sbr.data.build.splits import Medium
from sbr.frames.cut import cut_video
root = Path(sys.argv[1])
media = [Medium(f"videos/Ego4D/v_{i}_{i+150}.mp4", "v", i, i + 150, None, None) for i in range(0, 100, 4)]
print("ready", flush=True)
cut_video(root, media, root / "v.mp4", 0)
"""


def test_kill_at_any_moment_leaves_whole_clips_only(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "v.mp4", 255, size=(256, 256))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("v_*.mp4")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    whole = sorted(tmp_path.rglob("v_*.mp4"))
    assert whole
    media = [clip(i, i + 150) for i in range(0, 100, 4)]
    report = cut_media(tmp_path, media, {"v": recording}, 0, 1)
    assert report.there == len(whole) and report.made == len(media) - len(whole) and report.ok
    assert not list(tmp_path.rglob("*.tmp"))
    for medium in (media[0], media[-1]):
        assert numbers(tmp_path / medium.file) == list(range(medium.first_frame, medium.last_frame + 1))
