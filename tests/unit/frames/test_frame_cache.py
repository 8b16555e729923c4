"""The frame cache: the frames of decoding, bit for bit, and every reason not to trust an entry."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbr.config.inputs import DataConfig, FramesConfig
from sbr.errors import ConfigError, DataError, MediaError
from sbr.frames import cache as cache_module
from sbr.frames import load as load_module
from sbr.frames.cache import FOLDER, FrameCache, open_cache
from sbr.frames.cache_entry import EntryError, Pictures, read_entry, write_entry
from sbr.frames.fill import fill
from sbr.frames.load import load_frames
from sbr.frames.media import Media
from sbr.types import FrameFolder, Frames, Sample, VideoFrame, VideoRange

CONFIG = FramesConfig(height=56, width=84, max_frames=4)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("annotations", "videos/S", "images/S"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def sample(root: Path, write_video: Callable[..., Path], sbr_sample: Callable[..., Sample]) -> Sample:
    """A clip and an image of random pixels."""
    video = write_video("videos/S/a.mp4", 20, fps=Fraction(30000, 1001), noise=True)
    image = root / "images" / "S" / "a.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(image)
    return replace(sbr_sample(), video=video, image=image)


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """no_decoding(): from then on decoding fails."""

    def forbid(*_: object) -> None:
        raise AssertionError("decoded")

    def switch() -> None:
        monkeypatch.setattr(load_module, "read_clip", forbid)
        monkeypatch.setattr(load_module, "picture_of", forbid)

    return switch


def opened(root: Path, adds: bool = True) -> FrameCache:
    return FrameCache(root, root / FOLDER, adds)


def entries(root: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted((root / FOLDER).glob("*/*.frames"))}


def drafts(root: Path) -> list[str]:
    return [file.name for file in (root / FOLDER / "tmp").iterdir()]


def assert_same(found: Frames, expected: Frames) -> None:
    assert (found.indices, found.fps, found.total) == (expected.indices, expected.fps, expected.total)
    assert type(found.fps) is type(expected.fps) and isinstance(found.indices, tuple)
    for pixels, wanted in ((found.video_THWC, expected.video_THWC), (found.image_HWC, expected.image_HWC)):
        assert (pixels is None) == (wanted is None)
        if pixels is not None and wanted is not None:
            assert pixels.dtype == np.uint8 and pixels.flags.writeable and pixels.flags.c_contiguous
            assert np.array_equal(pixels, wanted)


@pytest.mark.parametrize("config", [FramesConfig(), CONFIG], ids=["official", "small"])
def test_frames_are_those_of_decoding(sample, root, no_decoding, config):
    plain = load_frames(sample, config)
    assert_same(load_frames(sample, config, cache=opened(root)), plain)
    assert len(entries(root)) == 2 and not drafts(root)
    no_decoding()
    read = opened(root, adds=False)
    assert_same(load_frames(sample, config, cache=read), plain)
    assert (read.counts.hits, read.counts.absent) == (2, 0)
    assert read.counts.bytes == sum(len(data) for data in entries(root).values())
    assert read.content() == (2, read.counts.bytes)


def test_image_alone(sample, root, no_decoding):
    alone = replace(sample, video=None)
    plain = load_frames(alone, CONFIG)
    load_frames(alone, CONFIG, cache=opened(root))
    no_decoding()
    assert_same(load_frames(alone, CONFIG, cache=opened(root)), plain)


def test_absent_entries_are_added_only_if_asked_for(sample, root, caplog):
    (root / FOLDER).mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert_same(load_frames(sample, CONFIG, cache=opened(root, adds=False)), load_frames(sample, CONFIG))
    assert not list((root / FOLDER).iterdir())
    (warning,) = caplog.messages  # of two absent entries
    assert str(sample.image) in warning and "`sbr data cache` with the same settings" in warning


def test_every_single_flipped_byte_is_noticed(tmp_path):
    file, key = tmp_path / "a.frames", {"path": "images/S/a.png"}
    pixels = np.random.default_rng(0).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    write_entry(file, tmp_path, key, Pictures(pixels))
    whole = file.read_bytes()
    assert np.array_equal(read_entry(file, key)[0].pixels, pixels)
    for place in range(len(whole)):
        for bit in (0x01, 0x80):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(EntryError) as caught:
                read_entry(file, key)
            assert caught.value.fault == "damaged", place
    for length in (*range(40), len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(EntryError, match="checksum"):
            read_entry(file, key)


def _flip(data: bytes) -> bytes:
    return data[:-1000] + bytes([data[-1000] ^ 4]) + data[-999:]


@pytest.mark.parametrize("damage", [_flip, lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""])
@pytest.mark.parametrize("adds", [False, True])
def test_a_damaged_entry_is_logged_and_rebuilt(sample, root, no_decoding, caplog, damage, adds):
    plain = load_frames(sample, CONFIG)
    load_frames(sample, CONFIG, cache=opened(root))
    whole = entries(root)
    bad = max(whole, key=lambda file: len(whole[file]))  # that of the clip
    bad.write_bytes(damage(whole[bad]))
    cache = opened(root, adds)
    with caplog.at_level(logging.INFO):
        assert_same(load_frames(sample, CONFIG, cache=cache), plain)
        cache.log_counts()
    warning, line = caplog.messages
    assert str(bad) in warning and str(sample.video) in warning and "is damaged (its checksum is wrong)" in warning
    assert "1 read, 1 decoded (0 absent, 0 stale, 1 damaged); entries: 0 added, 1 replaced" in line
    assert (cache.counts.hits, cache.counts.damaged, cache.counts.rebuilt) == (1, 1, 1)
    assert entries(root) == whole
    no_decoding()
    assert_same(load_frames(sample, CONFIG, cache=opened(root)), plain)


def test_an_entry_that_cannot_be_read_is_logged_and_decoded(sample, root, caplog):
    load_frames(sample, CONFIG, cache=opened(root))
    for file in entries(root):
        file.unlink()
        file.mkdir()
    with caplog.at_level(logging.WARNING):
        assert_same(load_frames(sample, CONFIG, cache=opened(root, adds=False)), load_frames(sample, CONFIG))
    damaged = [text for text in caplog.messages if "is damaged (it cannot be read: Is a directory)" in text]
    assert len(damaged) == 2 and "cannot be written" in caplog.text  # nothing can take the place of a folder


@pytest.mark.parametrize("adds", [False, True])
def test_a_changed_file_is_decoded_again_and_its_entry_replaced(sample, root, write_video, caplog, no_decoding, adds):
    load_frames(sample, CONFIG, cache=opened(root))
    before = entries(root)
    write_video("videos/S/a.mp4", 30, noise=False)
    plain = load_frames(sample, CONFIG)
    writing = opened(root, adds)
    with caplog.at_level(logging.WARNING):
        assert_same(load_frames(sample, CONFIG, cache=writing), plain)
    assert "is stale (files differs)" in caplog.text
    assert (writing.counts.hits, writing.counts.stale, writing.counts.rebuilt) == (1, 1, 1)
    assert entries(root).keys() == before.keys()
    no_decoding()
    assert_same(load_frames(sample, CONFIG, cache=opened(root)), plain)


def test_a_file_of_equal_size_is_told_by_its_time(sample, root):
    load_frames(sample, CONFIG, cache=opened(root))
    now = sample.image.stat().st_mtime_ns
    os.utime(sample.image, ns=(now, now + 1))
    reading = opened(root, adds=False)
    load_frames(sample, CONFIG, cache=reading)
    assert (reading.counts.hits, reading.counts.stale) == (1, 1)


def test_other_versions_of_the_libraries_make_entries_stale(sample, root, monkeypatch):
    load_frames(sample, CONFIG, cache=opened(root))
    versions = cache_module._libraries()
    assert set(versions) == {"av", "pillow", "torch"}
    monkeypatch.setattr(cache_module, "_libraries", lambda: versions | {"av": "0.1"})
    writing = opened(root)
    load_frames(sample, CONFIG, cache=writing)
    assert (writing.counts.stale, writing.counts.rebuilt, len(entries(root))) == (2, 2, 2)


@pytest.mark.parametrize(
    ("change", "factor", "clip_hits", "image_hits"),
    [
        ({"fps": 8.0}, 28, 0, 1),
        ({"min_frames": 2}, 28, 0, 1),
        ({"max_frames": 6}, 28, 0, 1),
        ({"height": 84}, 28, 0, 0),
        ({"width": 56}, 28, 0, 0),
        ({}, 32, 0, 0),
        ({"height": 60}, 28, 1, 1),  # rounded to 56 like the other
    ],
)
def test_other_parameters_are_other_entries(sample, root, change, factor, clip_hits, image_hits):
    load_frames(sample, CONFIG, cache=opened(root))
    config = CONFIG.model_copy(update=change)
    writing = opened(root)
    assert_same(load_frames(sample, config, factor, cache=writing), load_frames(sample, config, factor))
    assert writing.counts.hits == clip_hits + image_hits
    assert (writing.counts.stale, writing.counts.rebuilt) == (0, 0)  # beside the first ones, not in their place
    again = opened(root)
    load_frames(sample, CONFIG, cache=again)
    load_frames(sample, config, factor, cache=again)
    assert again.counts.hits == 4


def test_files_of_equal_content_and_other_names_are_told_apart(sample, root):
    load_frames(sample, CONFIG, cache=opened(root))
    copy = sample.image.with_name("b.png")
    shutil.copy2(sample.image, copy)
    writing = opened(root)
    load_frames(replace(sample, image=copy), CONFIG, cache=writing)
    assert (writing.counts.hits, writing.counts.built) == (1, 1)


def test_a_moved_data_root_keeps_its_cache(sample, root, no_decoding, tmp_path_factory):
    plain = load_frames(sample, CONFIG)
    load_frames(sample, CONFIG, cache=opened(root))
    moved = root.rename(tmp_path_factory.mktemp("elsewhere") / "root")
    root.mkdir()  # pytest looks for it
    no_decoding()
    there = replace(sample, video=moved / "videos" / "S" / "a.mp4", image=moved / "images" / "S" / "a.png")
    assert_same(load_frames(there, CONFIG, cache=opened(moved, adds=False)), plain)


def test_a_missing_medium_is_the_same_error_with_an_entry(sample, root):
    load_frames(sample, CONFIG, cache=opened(root))
    sample.video.unlink()
    with pytest.raises(MediaError, match=r"a\.mp4 does not exist"):
        load_frames(sample, CONFIG, cache=opened(root))


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(sample, root, monkeypatch, caplog):
    decode = load_module.picture_of

    def change(file: Path, threads: int) -> Image.Image:
        picture = decode(file, threads)
        os.utime(file, ns=(0, 0))
        return picture

    monkeypatch.setattr(load_module, "picture_of", change)
    with caplog.at_level(logging.WARNING):
        load_frames(sample, CONFIG, cache=opened(root))
    assert len(entries(root)) == 1 and "changed while it was decoded" in caplog.text


def test_threads_share_one_cache(sample, root):
    plain, shared = load_frames(sample, CONFIG), opened(root)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: load_frames(sample, CONFIG, cache=shared), range(40)):
            assert_same(found, plain)
    assert len(entries(root)) == 2 and not drafts(root)
    counts = shared.counts
    assert counts.hits + counts.absent == 80 and counts.built == counts.absent <= 16


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only(sample: Sample, root: Path) -> Iterator[tuple[Sample, Path]]:
    """The data root with a filled cache, in a folder everybody may read and nobody may change."""
    load_frames(sample, CONFIG, cache=opened(root))
    place = Path(tempfile.mkdtemp())
    shutil.copytree(root, place / "root")
    for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    there = place / "root"
    yield replace(sample, video=there / "videos" / "S" / "a.mp4", image=there / "images" / "S" / "a.png"), there
    for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    shutil.rmtree(place)


def test_a_read_only_folder_is_read_and_refused_for_writing(read_only, sample):
    there, root = read_only
    plain = load_frames(sample, CONFIG)
    with unprivileged():
        reading = open_cache(DataConfig(root=root))
        assert reading is not None
        assert_same(load_frames(there, CONFIG, cache=reading), plain)
        assert reading.counts.hits == 2
        other = CONFIG.model_copy(update={"height": 84})
        assert_same(load_frames(there, other, cache=reading), load_frames(there, other))
        with pytest.raises(ConfigError, match=r"cannot be written to: Permission denied.*data\.cache_dir"):
            open_cache(DataConfig(root=root, cache="on"))
    assert len(entries(root)) == 2


def test_what_cannot_be_written_any_more_stops_a_filling_and_no_training(sample, root, caplog):
    writing = opened(root)
    shutil.rmtree(root / FOLDER)
    (root / FOLDER).write_text("")
    with caplog.at_level(logging.WARNING):
        assert_same(load_frames(sample, CONFIG, cache=writing), load_frames(sample, CONFIG))
    assert len(caplog.messages) == 1 and "cannot be written" in caplog.text
    assert writing.write_error is not None
    with pytest.raises(DataError, match=r"cannot be written.*run the command again"):
        fill(writing, Media((sample.video,), (sample.image,)), CONFIG, 28, 2)


@pytest.fixture
def folder(root: Path) -> Path:
    """Twelve pictures frame_0000000003.jpg to frame_0000000014.jpg."""
    folder = root / "EPIC-KITCHENS" / "P01_01"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(2)
    for number in range(3, 15):
        pixels = draw.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"frame_{number:010d}.jpg")
    return folder


def test_every_kind_of_clip_and_picture(sample, root, folder, no_decoding):
    """Each is an entry of its own, however alike: a file, two ranges of it, folders of frames, single frames."""
    videos = [
        *(
            sample.video,
            VideoRange(sample.video, 0, 19),
            VideoRange(sample.video, 2, 9),
            VideoRange(sample.video, 2, 8),
        ),
        *(FrameFolder(folder, 3, 14, 10.0), FrameFolder(folder, 3, 13, 10.0), FrameFolder(folder, 4, 14, 10.0)),
        *(FrameFolder(folder, 3, 14, 4.0), None),
    ]
    images = [sample.image, VideoFrame(sample.video, 0), VideoFrame(sample.video, 9), folder / "frame_0000000014.jpg"]
    samples = [replace(sample, video=video, image=image) for video, image in zip_longest(videos, images)]
    plain = [load_frames(each, CONFIG) for each in samples]
    assert plain[-1].video_THWC is None and plain[-1].image_HWC is None
    media = Media(tuple(video for video in videos if video is not None), tuple(images))
    filling = fill(opened(root), media, CONFIG, 28, 2)
    assert (filling.media, filling.counts.built, filling.failures) == (12, 12, ())
    assert len(entries(root)) == 12
    no_decoding()
    cache = opened(root, adds=False)
    for each, expected in zip(samples, plain, strict=True):
        assert_same(load_frames(each, CONFIG, cache=cache), expected)
    assert (cache.counts.hits, cache.counts.absent) == (12, 0)


def test_a_folder_of_frames_is_as_old_as_the_pictures_taken(sample, root, folder):
    clip = replace(sample, video=FrameFolder(folder, 3, 14, 10.0), image=None)
    taken = load_frames(clip, CONFIG, cache=opened(root)).indices
    assert taken == (0, 4, 7, 11)
    (folder / "frame_0000000015.jpg").write_bytes(b"another frame")
    (folder / "frame_0000000004.jpg").unlink()  # index 1
    again = opened(root, adds=False)
    load_frames(clip, CONFIG, cache=again)
    assert (again.counts.hits, again.counts.stale) == (1, 0)
    Image.new("RGB", (90, 60)).save(folder / "frame_0000000010.jpg")  # index 7
    changed = opened(root, adds=False)
    assert_same(load_frames(clip, CONFIG, cache=changed), load_frames(clip, CONFIG))
    assert (changed.counts.hits, changed.counts.stale, changed.counts.rebuilt) == (0, 1, 1)
    (folder / "frame_0000000010.jpg").unlink()
    with pytest.raises(MediaError, match=r"frame_0000000010\.jpg does not exist"):
        load_frames(clip, CONFIG, cache=opened(root))


@pytest.mark.parametrize("video", ["range", "folder", "nowhere"])
def test_clips_that_cannot_be_used_are_the_same_error_with_a_cache(sample, root, folder, video):
    broken = {
        "range": VideoRange(sample.video, 5, 90),
        "folder": FrameFolder(folder, 3, 3, 10.0),
        "nowhere": FrameFolder(root / "nowhere", 3, 14, 10.0),
    }[video]
    with pytest.raises(MediaError) as plain:
        load_frames(replace(sample, video=broken), CONFIG)
    with pytest.raises(MediaError) as cached:
        load_frames(replace(sample, video=broken), CONFIG, cache=opened(root))
    assert str(cached.value) == str(plain.value)
    assert len(entries(root)) == 1  # the image


def test_filling_counts_and_goes_on_after_failures(sample, root):
    broken = root / "videos" / "S" / "broken.mp4"
    broken.write_text("<html>404</html>")
    media = Media((sample.video, broken), (sample.image, root / "images" / "S" / "gone.png"))
    seen: list[tuple[int, int]] = []
    first = fill(opened(root), media, CONFIG, 28, 2, lambda done, total: seen.append((done, total)))
    assert (first.media, first.counts.hits, first.counts.built) == (4, 0, 2)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    gone, damaged = first.failures
    assert "gone.png does not exist" in gone and f"{broken} is no video, damaged or cut short" in damaged
    second = fill(opened(root), media, CONFIG, 28, 2)
    assert (second.counts.hits, second.counts.built, second.failures) == (2, 0, first.failures)
    assert second.counts.bytes == first.counts.bytes == sum(len(data) for data in entries(root).values())


def test_drafts_that_killed_processes_left_are_removed(root):
    opened(root)
    old, young = (root / FOLDER / "tmp" / name for name in ("old", "young"))
    for file in (old, young):
        file.write_text("half")
    os.utime(old, (0, 0))
    opened(root, adds=False)
    assert sorted(drafts(root)) == ["old", "young"]
    opened(root)
    assert drafts(root) == ["young"]


def test_which_cache_a_recipe_asks_for(root):
    assert DataConfig(root=root).cache == "auto"
    assert open_cache(DataConfig(root=root)) is None  # none was made
    assert open_cache(DataConfig(root=root, cache="off")) is None
    with pytest.raises(ConfigError, match=r"elsewhere does not exist; fill it with `sbr data cache .* --folder"):
        open_cache(DataConfig(root=root, cache_dir=root / "elsewhere"))
    made = open_cache(DataConfig(root=root, cache="on"))
    assert made is not None and made.folder == root / ".cache" / "sbr_frames"
    reading = open_cache(DataConfig(root=root))
    assert reading is not None and reading.folder == made.folder
    assert open_cache(DataConfig(root=root, cache="off")) is None
    named = open_cache(DataConfig(root=root, cache="on", cache_dir=root / "elsewhere"))
    assert named is not None and named.folder == root / "elsewhere"


def test_an_entry_can_be_read_by_hand(sample, root):
    """The layout of docs/formats.md, read without the package."""
    plain = load_frames(sample, CONFIG)
    load_frames(sample, CONFIG, cache=opened(root))
    data = max(entries(root).values(), key=len)
    first, header, pixels = data.split(b"\n", 2)
    values = json.loads(header)
    assert first.startswith(b"sbr-frames ") and len(first) == 19
    assert np.array_equal(np.frombuffer(pixels, np.uint8).reshape(values["shape"]), plain.video_THWC)
    assert (values["indices"], values["fps"], values["total"]) == (list(plain.indices), plain.fps, plain.total)
    status = sample.video.stat()
    assert values["key"]["path"] == "videos/S/a.mp4"
    assert values["key"]["files"] == [[status.st_size, status.st_mtime_ns]]
    assert values["key"]["rule"] == {"kind": "video", "size": [56, 84], "fps": 2.0, "min_frames": 4, "max_frames": 4}
