"""Forward decoding: the right frames, an honest count, and one clear message for every kind of bad file."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from colour_videos import frame_number

from sbr.config.inputs import FramesConfig
from sbr.errors import MediaError
from sbr.frames import decode_video as decoding
from sbr.frames.decode_video import decode_video
from sbr.frames.sampling import frame_indices

CHOOSE = partial(frame_indices, config=FramesConfig())
REAL = Path(__file__).resolve().parents[4] / "shared" / "reference" / "videos" / "flipping_a_pancake.mkv"


def every(total: int, fps: float) -> tuple[int, ...]:
    return tuple(range(total))


def message(file: Path) -> str:
    """The one line a bad file gives."""
    with pytest.raises(MediaError) as caught:
        decode_video(file, CHOOSE)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),  # its header counts no frames
        ("a.mkv", "libx264", {}),
        ("a.avi", "mpeg4", {}),
        ("a.ts", "libx264", {}),
        ("a.mpg", "mpeg2video", {}),  # a program stream, on which seeking decoders return wrong frames
        ("a.webm", "libvpx-vp9", {}),
    ],
)
def test_all_frames_in_order(write_video, name, codec, muxer):
    clip = decode_video(write_video(name, 60, fps=25, codec=codec, **muxer), every)
    assert clip.total == 60 and clip.fps == 25.0 and clip.indices == tuple(range(60))
    assert clip.frames_THWC.shape == (60, 48, 64, 3) and clip.frames_THWC.dtype == np.uint8
    assert [frame_number(frame) for frame in clip.frames_THWC] == list(range(60))


@pytest.mark.parametrize("threads", [1, 3])
def test_only_the_wanted_frames_are_converted(write_video, monkeypatch, threads):
    converted = []
    to_rgb = decoding._rgb
    monkeypatch.setattr(decoding, "_rgb", lambda frame: converted.append(1) or to_rgb(frame))
    clip = decode_video(write_video("a.mp4", 90), CHOOSE, threads)
    assert clip.indices == (0, 6, 12, 18, 24, 30, 36, 42, 47, 53, 59, 65, 71, 77, 83, 89) and len(converted) == 16
    assert tuple(frame_number(frame) for frame in clip.frames_THWC) == clip.indices


def test_frames_hidden_by_an_edit_list_are_not_counted(write_video, tmp_path):
    """A clip cut without re-encoding: the header counts 60 frames, players and decoders show 53."""
    source, cut = write_video("a.mp4", 60), tmp_path / "cut.mp4"
    with av.open(str(source)) as reader, av.open(str(cut), "w") as writer:
        stream = reader.streams.video[0]
        target = writer.add_stream_from_template(stream)
        shift = int(0.7 / stream.time_base)
        for packet in reader.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, target
                writer.mux(packet)
    with av.open(str(cut)) as container:
        assert container.streams.video[0].frames == 60
    clip = decode_video(cut, every)
    assert clip.total == 53
    assert [frame_number(frame) for frame in clip.frames_THWC] == list(range(7, 60))


def test_a_wrong_count_in_the_header_is_corrected(write_video, monkeypatch):
    """The guess before decoding says 40; the indices belong to the 30 frames there are."""
    inspect = decoding._inspect
    monkeypatch.setattr(decoding, "_inspect", lambda file: replace(inspect(file), frames=40, indexed=0))
    clip = decode_video(write_video("a.mp4", 30), CHOOSE)
    assert clip.total == 30 and clip.indices == (0, 6, 12, 17, 23, 29)
    assert tuple(frame_number(frame) for frame in clip.frames_THWC) == clip.indices
    monkeypatch.setattr(decoding, "_inspect", lambda file: replace(inspect(file), frames=0, indexed=0))
    assert decode_video(write_video("b.mp4", 30), CHOOSE).total == 30


def test_display_matrix_turns_the_picture(tmp_path):
    """A phone held upright: the file stores 64x32 and asks players to turn it clockwise."""
    file = tmp_path / "phone.mp4"
    picture = np.zeros((32, 64, 3), dtype=np.uint8)
    picture[:12, :24] = (255, 0, 0)  # top left as stored, top right once turned
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(file.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    file.write_bytes(data)
    frames_THWC = decode_video(file, every).frames_THWC
    assert frames_THWC.shape == (2, 64, 32, 3)
    assert frames_THWC[0, 5, -5, 0] > 200 and frames_THWC[0, 5, 5, 0] < 50 and frames_THWC[0, -5, -5, 0] < 50


def test_missing_folder_and_empty(tmp_path):
    assert "does not exist" in message(tmp_path / "none.mp4")
    assert "not a file" in message(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert "is empty (0 bytes)" in message(tmp_path / "empty.mp4")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"hello, this is not a video\n" * 20, "it holds text ('hello, this is not a vid')"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "it holds text ('#EXTM3U"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "it holds text ('ffconcat"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "it holds PNG data"),
        (bytes(5000), "it holds zero bytes only"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
    ],
)
def test_a_file_that_is_no_video(tmp_path, content, found):
    file = tmp_path / "fake.mp4"
    file.write_bytes(content)
    assert found in message(file)


def test_a_file_without_a_video_track(tmp_path):
    file = tmp_path / "sound.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    assert "has no video track" in message(file)


@pytest.mark.parametrize(
    ("name", "muxer", "why"),
    [
        ("a.mp4", {}, "cut short"),
        ("a.mp4", {"movflags": "faststart"}, "its index speaks of"),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}, "a packet is cut short"),
        ("a.mkv", {}, "its header says 12.0 s"),
        ("a.avi", {}, "cut short"),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.75])
def test_a_file_cut_short_is_an_error(write_video, name, muxer, why, share):
    file = write_video(name, 120, noise=True, codec="mpeg4" if name == "a.avi" else "libx264", **muxer)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    text = message(file)
    assert why in text and f"{len(file.read_bytes()):,} bytes" in text and "Download or copy it again" in text


def test_damage_in_the_middle_is_an_error(write_video):
    file = write_video("a.mp4", 60, noise=True, movflags="faststart")
    with av.open(str(file)) as container:
        entry = container.streams.video[0].index_entries[30]
        at, size = entry.pos, entry.size
    good = file.read_bytes()
    for damage in (bytes(size), good[at : at + 60] + bytes(byte ^ 0xFF for byte in good[at + 60 : at + size])):
        file.write_bytes(good[:at] + damage + good[at + size :])
        assert "is damaged or cut short" in message(file)


@pytest.mark.parametrize(("frames", "indices"), [(1, None), (2, (0, 1)), (3, (0, 2))])
def test_very_short_clips(write_video, frames, indices):
    file = write_video("a.mp4", frames)
    if indices is None:
        assert "has 1 frame and at least 2 are needed" in message(file)
    else:
        clip = decode_video(file, CHOOSE)
        assert clip.indices == indices and [frame_number(frame) for frame in clip.frames_THWC] == list(indices)


def test_real_video():
    """Matroska, which declares no number of frames; 310 come out of it (10.333 s at 30 a second)."""
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not here")
    clip = decode_video(REAL, CHOOSE)
    assert (clip.total, clip.fps, clip.frames_THWC.shape) == (310, 30.0, (16, 240, 426, 3))
    assert clip.indices[:3] == (0, 21, 41) and clip.indices[-1] == 309
    with av.open(str(REAL)) as container:
        frames = [frame for i, frame in enumerate(container.decode(video=0)) if i in set(clip.indices)]
    pictures = np.stack([np.asarray(frame.to_image()) for frame in frames])
    assert np.array_equal(clip.frames_THWC, pictures)
