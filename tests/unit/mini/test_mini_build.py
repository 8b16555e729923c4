"""The files of the miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sbr.data.audit.root import audit_root
from sbr.data.sources.seed_bench_r1 import load_level, load_training_samples
from sbr.errors import ConfigError, DataError
from sbr.mini import build as build_module
from sbr.mini import world
from sbr.mini.build import TRAIN_FILE, build, draw_media, encode_clip, fingerprint
from sbr.mini.questions import plan
from sbr.mini.render import render_clip, render_observation

SMALL = {"train": 3, "val": 2, "seed": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mini") / "one"
    assert build(directory, **SMALL, workers=1).drawn == 9
    return directory


def files(directory: Path) -> dict[str, bytes]:
    return {str(f.relative_to(directory)): f.read_bytes() for f in sorted(directory.rglob("*")) if f.is_file()}


def decoded(file: Path) -> tuple[np.ndarray, float]:
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]), rate


def test_readers_and_the_check_of_data_roots_accept_it(root: Path) -> None:
    samples = load_training_samples(root, TRAIN_FILE, seed=0, limit=None)
    assert len(samples) == 3
    for level in ("L1", "L2", "L3"):
        assert len(load_level(root, level, limit=None)) == 2
    audit = audit_root(root)
    assert audit.ok, (audit.problems, audit.missing)


def test_a_clip_has_eight_frames_an_action_at_eight_a_second_and_shows_them(root: Path) -> None:
    for question in [*plan("train", 3, 5), *plan("L2", 2, 5), *plan("L3", 2, 5)]:
        if question.video_name is None:
            continue
        frames_THWC, rate = decoded(root / "videos" / question.source / question.video_name)
        drawn_THWC = render_clip(question.episode, question.done, question.first)
        assert frames_THWC.shape == drawn_THWC.shape == (8 * (question.done - question.first), 168, 168, 3)
        assert rate == 8.0
        difference = frames_THWC.astype(float) - drawn_THWC
        assert np.abs(difference).mean() < 9  # sensor noise that the codec smooths away
        assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 2  # no shift of colours


def test_the_image_is_the_observation(root: Path) -> None:
    question = plan("L2", 1, 5)[0]
    seen = np.asarray(Image.open(root / "images" / question.source / question.image_name))
    np.testing.assert_array_equal(seen, render_observation(question.episode, question.done))


def test_the_number_of_processes_does_not_matter(root: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    built = build(tmp_path / "two", **SMALL, workers=2, on_progress=lambda done, total: calls.append((done, total)))
    assert (built.questions, built.drawn) == (9, 9)
    assert calls[-1] == (9, 9) and len(calls) == 2
    assert files(tmp_path / "two") == files(root)


def test_what_is_there_is_kept_and_what_is_missing_is_drawn(root: Path) -> None:
    before = files(root)
    times = {file: file.stat().st_mtime_ns for file in (root / "images").rglob("*.png")}
    video, *_ = (root / "videos").rglob("*.mp4")
    image = next(file for file in times if file.stem != video.stem)
    video.unlink()
    image.write_bytes(b"")  # what a power failure can leave
    assert build(root, **SMALL, workers=1).drawn == 2
    assert files(root) == before
    changed = {file for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {image}


def test_a_folder_holds_one_kind_of_shift(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shift 'belongings, camera', not 'none'"):
        build(root, **SMALL, workers=1, shifts=frozenset())
    build(tmp_path / "none", **SMALL, workers=1, shifts=frozenset())
    ours, theirs = files(tmp_path / "none"), files(root)
    assert ours["annotations/training_6k.jsonl"] == theirs["annotations/training_6k.jsonl"]
    different = {name for name in ours if name.endswith((".mp4", ".png")) and ours[name] != theirs[name]}
    assert different and all("/Ego4D/K" in name for name in different)


def test_annotations_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(directory: Path, questions: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(build_module, "draw_media", killed)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "mini", **SMALL, workers=1)
    assert [file.name for file in (tmp_path / "mini").iterdir()] == ["mini.json"]


def test_a_row_without_progress_has_an_image_and_no_video(tmp_path: Path) -> None:
    question = next(question for question in plan("train", 20, 0) if question.done == 0)
    assert draw_media(tmp_path, [question]) == 1
    assert list(files(tmp_path)) == [f"images/EpicKitchens/{question.episode.video_id}_0.png"]


def test_encoding_is_reproducible() -> None:
    frames_THWC = render_clip(plan("L1", 2, 5)[1].episode, 1)
    assert encode_clip(frames_THWC) == encode_clip(frames_THWC)


@pytest.mark.parametrize("change", [{"train": 4}, {"val": 3}, {"seed": 6}])
def test_another_build_in_the_same_folder_is_refused(root: Path, change: dict[str, int]) -> None:
    before = files(root)
    (name, value), *_ = change.items()
    with pytest.raises(DataError, match=f"another build of the miniature \\({name} {SMALL[name]}, not {value}\\)"):
        build(root, **{**SMALL, **change}, workers=1)
    assert files(root) == before


def test_pictures_of_another_version_are_not_mixed_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "fingerprint", lambda: "another")
    with pytest.raises(DataError, match="pictures"):
        build(root, **SMALL, workers=1)


def test_the_fingerprint_follows_tasks_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint()
    assert fingerprint() == first
    with monkeypatch.context() as patch:
        patch.setattr(world, "ALL_TASKS", world.ALL_TASKS[1:])
        assert fingerprint() != first
    with monkeypatch.context() as patch:
        patch.setattr("sbr.mini.render.OBJECT", 80)
        assert fingerprint() != first


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="no build of the miniature"):
        build(tmp_path, **SMALL, workers=1)
    with pytest.raises(DataError, match="is a file"):
        build(tmp_path / "thesis.txt", **SMALL, workers=1)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_manifest_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "mini.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"mini\.json is damaged"):
        build(tmp_path, **SMALL, workers=1)


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"val": 0}, {"val": 1_000_001}, {"seed": -1}, {"workers": 0}], ids=lambda wrong: str(wrong)
)
def test_impossible_requests_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build(tmp_path / "mini", **{**SMALL, "workers": 1, **wrong})
    assert not (tmp_path / "mini").exists()


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build_module, "_place", full)
    with pytest.raises(DataError, match="No space left on device; correct that and run the same command again"):
        build(tmp_path / "mini", **SMALL, workers=1)


def test_a_question_keeps_its_media_when_the_build_grows(root: Path, tmp_path: Path) -> None:
    larger = plan("L1", 3, 5)
    assert draw_media(tmp_path, larger) == 3
    names = {name for name in files(tmp_path) if any(q.episode.video_id in name for q in larger[:2])}
    assert names and all(files(tmp_path)[name] == files(root)[name] for name in names)
    assert replace(larger[0], number=9) not in plan("L1", 2, 5)
