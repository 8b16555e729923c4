"""Opening media: every kind of bad file gets a fault that names it, good files their length, crashes one culprit."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sbr.data.sources.named_media import NamedMedium, RowPlace
from sbr.frames import probe
from sbr.frames.decode_video import probe_video
from sbr.frames.probe import Probe, probe_media, probe_medium, summarise

REAL = Path(__file__).resolve().parents[4] / "shared" / "reference" / "videos" / "flipping_a_pancake.mkv"
HERE = Path("rows.jsonl")


def named(*files: Path) -> list[NamedMedium]:
    return [NamedMedium(file, file.suffix != ".png", (RowPlace(HERE, i),)) for i, file in enumerate(files, 1)]


@pytest.fixture
def picture(tmp_path) -> Path:
    file = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(file)
    return file


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", {}),
        ("a.avi", "mpeg4", {}),
        ("a.ts", "libx264", {}),
        ("a.mpg", "mpeg2video", {}),
        ("a.webm", "libvpx-vp9", {}),
    ],
)
def test_length_and_size_of_every_container(write_video, name, codec, muxer, full):
    file = write_video(name, 60, fps=25, codec=codec, **muxer)
    assert probe_medium(file, True, full) == Probe(file, True, 60, 2.4, 64, 48)


def test_only_key_frames_are_decoded(write_video, monkeypatch):
    """One in twelve: `_decode`, which decodes all of them, is not asked."""
    monkeypatch.setattr("sbr.frames.decode_video._decode", None)
    assert probe_video(write_video("a.mp4", 120)).frames == 120


def test_a_file_with_one_key_frame_and_one_without_index(write_video):
    assert probe_video(write_video("a.mp4", 7)).frames == 7
    assert probe_video(write_video("a.ts", 7)).frames == 7


def test_a_picture(picture):
    assert probe_medium(picture, False, False) == Probe(picture, False, None, None, 64, 48)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mp4", b"<html>404 not found</html>", "it holds text ('<html>404"),
        ("a.mp4", b"", "is empty (0 bytes)"),
        ("a.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
        ("a.mp4", bytes(5000), "zero bytes only"),
        ("a.mp4", b"\x89PNG\r\n\x1a\n" + bytes(100), "it holds PNG data"),
        ("a.png", b"", "is empty (0 bytes)"),
        ("a.png", b"no picture at all", "it holds text ('no picture at all')"),
    ],
)
def test_files_that_are_something_else(tmp_path, name, content, words, full):
    file = tmp_path / name
    file.write_bytes(content)
    fault = probe_medium(file, name == "a.mp4", full).fault
    assert fault is not None and words in fault and str(file) in fault


def test_a_file_that_went_away_is_a_fault(tmp_path):
    fault = probe_medium(tmp_path / "gone.mp4", True, False).fault
    assert fault is not None and "does not exist" in fault


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.75])
@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_a_video_cut_short(write_video, name, codec, muxer, share, full):
    file = write_video(name, 120, codec=codec, noise=True, **muxer)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    fault = probe_medium(file, True, full).fault
    assert fault is not None and "cut short" in fault and str(file) in fault


def test_a_download_with_its_size_but_without_its_end(write_video):
    """Downloaders that reserve the space first leave zero bytes."""
    file = write_video("a.mp4", 120, noise=True, movflags="faststart")
    data = file.read_bytes()
    half = len(data) // 2
    file.write_bytes(data[:half] + bytes(len(data) - half))
    fault = probe_medium(file, True, False).fault
    assert fault is not None and "damaged or cut short" in fault


def test_damage_between_key_frames_needs_full(write_video):
    file = write_video("a.mp4", 60, noise=True, movflags="faststart")
    with av.open(str(file)) as container:
        entries = container.streams.video[0].index_entries
        entry = next(entry for entry in list(entries)[20:] if not entry.is_keyframe)
        at, size = entry.pos, entry.size
    data = bytearray(file.read_bytes())
    data[at + 60 : at + size] = bytes(byte ^ 0xFF for byte in data[at + 60 : at + size])
    file.write_bytes(data)
    assert probe_medium(file, True, full=False).fault is None
    assert "damaged" in str(probe_medium(file, True, full=True).fault)


@pytest.mark.parametrize("full", [False, True])
def test_a_clip_of_one_frame_is_of_no_use(write_video, full):
    file = write_video("a.mp4", 1)
    fault = probe_medium(file, True, full).fault
    assert fault is not None and "has 1 frame and at least 2 are needed" in fault and str(file) in fault


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_cut_short(tmp_path, name):
    file = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:-2000])
    fault = probe_medium(file, False, False).fault
    assert fault is not None and "damaged or cut short" in fault


def test_processes_give_what_one_process_gives(write_video, picture, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("text")
    files = [write_video(f"{n}.mp4", n) for n in range(2, 12)] + [picture, bad]
    probes = list(probe_media(named(*files), full=False, workers=2))
    assert {found.path: found for found in probes} == {
        file: probe_medium(file, file.suffix != ".png", False) for file in files
    }
    assert len(probes) == len(files)


def _crash() -> None:
    os._exit(139)


class Deadly(NamedMedium):
    """A medium whose pickle ends the process that receives it, as a bug of a decoder would."""

    __slots__ = ()

    def __reduce__(self):
        return _crash, ()


def test_a_crash_names_its_file_and_no_other(write_video):
    files = [write_video(f"{n}.mp4", 3) for n in range(30)]
    media = named(*files)
    media[13] = Deadly(files[13], True, (RowPlace(HERE, 14),))
    probes = {found.path: found for found in probe_media(media, full=False, workers=2)}
    assert probes.keys() == set(files)
    assert [path.name for path, found in probes.items() if found.fault] == ["13.mp4"]
    assert "crashed" in str(probes[files[13]].fault)


def test_summary_counts_media_once_a_file_and_names_the_first_row(tmp_path):
    def places(*rows: tuple[str, int]) -> tuple[RowPlace, ...]:
        return tuple(RowPlace(Path(name), line) for name, line in rows)

    files = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4", "d.png")]
    media = [
        NamedMedium(files[0], True, places(("train", 1), ("train", 2), ("L1", 5))),
        NamedMedium(files[1], True, places(("train", 3))),
        NamedMedium(files[2], True, places(("train", 4), ("L1", 2))),
        NamedMedium(files[3], False, places(("L1", 1))),
    ]
    probes = [
        Probe(files[3], False, width=1, height=1),
        Probe(files[2], True, fault="video c.mp4 is bad."),
        Probe(files[1], True, 40, 4.0, 1, 1),
        Probe(files[0], True, 20, 1.0, 1, 1),
    ]
    report = summarise(media, probes, full=False)
    train, level = report.splits
    assert (train.videos, train.images, train.broken) == (3, 0, 1)
    assert train.seconds == probe.Spread(1.0, 2.5, 4.0) and train.frames == probe.Spread(20, 30, 40)
    assert (level.videos, level.images, level.broken, level.seconds) == (2, 1, 1, probe.Spread(1.0, 1.0, 1.0))
    assert [str(broken) for broken in report.broken] == ["train:4: video c.mp4 is bad. (2 rows name it)"]
    assert not report.ok
    with pytest.raises(KeyError):
        summarise(media, probes[:-1], full=False)


@pytest.mark.parametrize("full", [False, True])
def test_the_real_video(full):
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not here")
    found = probe_medium(REAL, True, full)
    assert (found.frames, found.width, found.height, found.fault) == (310, 426, 240, None)
    assert found.seconds == pytest.approx(310 / 30)


def test_the_real_video_cut_short(tmp_path):
    if not REAL.exists():
        pytest.skip(f"{REAL.name} is not here")
    file = tmp_path / "cut.mkv"
    file.write_bytes(REAL.read_bytes()[:200_000])
    assert "cut short" in str(probe_medium(file, True, False).fault)
