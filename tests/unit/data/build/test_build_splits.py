"""Splits without leakage, and what a build writes."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from build_sources import goal_rows, kitchen, task_row, write_epic, write_goal_rows, write_tasks
from hypothesis import given, settings
from hypothesis import strategies as st

import sbr.data.build.root as build_module
from sbr.data.audit.root import audit_root
from sbr.data.build.action_files import read_annotations
from sbr.data.build.goals import add_goals, read_goals
from sbr.data.build.root import BuildOptions, build, read_media
from sbr.data.build.splits import split_videos
from sbr.data.rows.annotations import read_training_rows, read_validation_rows
from sbr.data.sources.seed_bench_r1 import load_level, load_training_samples
from sbr.errors import AnnotationError, ConfigError, DataError

VIDEOS = [f"P{p:02d}_{v:02d}" for p in range(1, 13) for v in range(1, 7)]
PEOPLE = {video: video[:3] for video in VIDEOS}
SHARES = BuildOptions(l1=0.3, l2=0.3)


def build_epic(folder: Path, rows: list[dict[str, Any]], options: BuildOptions = SHARES, name: str = "root") -> Path:
    file = write_epic(folder, rows)
    goals = read_goals(write_goal_rows(folder / "goals.csv", goal_rows(rows)))
    added = add_goals(read_annotations([file]), goals)
    build(folder / name, [file], added.annotations, added.counts, options)
    return folder / name


def content(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


@given(
    st.dictionaries(st.sampled_from(VIDEOS), st.just(None), min_size=1),
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_no_participant_is_on_both_sides(videos: dict[str, None], l1: float, l2: float, seed: int) -> None:
    people = {video: PEOPLE[video] for video in videos}
    splits = split_videos(people, l1, l2, seed)
    assert splits.keys() == people.keys()
    sides = {split: {people[v] for v in videos if splits[v] == split} for split in ("train", "L1", "L2")}
    assert not sides["L2"] & (sides["train"] | sides["L1"])
    assert sides["L1"] <= sides["train"]
    shuffled = list(people.items())
    random.Random(seed).shuffle(shuffled)
    assert split_videos(dict(shuffled), l1, l2, seed) == splits


def test_shares_and_seeds() -> None:
    many = {f"P{p:03d}_{v:02d}": f"P{p:03d}" for p in range(400) for v in range(5)}
    splits = split_videos(many, 0.2, 0.25, 0)
    counts = Counter(splits.values())
    # 400 coins of 0.25: five standard deviations are 0.11; L1 takes a fifth of the rest.
    assert abs(counts["L2"] / 2000 - 0.25) < 0.11
    assert abs(counts["L1"] / (counts["L1"] + counts["train"]) - 0.2) < 0.05
    assert split_videos(many, 0.2, 0.25, 1) != splits
    assert set(split_videos(many, 0, 0, 0).values()) == {"train"}


def test_a_participant_keeps_its_side_whatever_else_is_there() -> None:
    alone = {video: PEOPLE[video] for video in VIDEOS if PEOPLE[video] in ("P03", "P07")}
    whole = split_videos(PEOPLE, 0.4, 0.4, 5)
    assert all((whole[video] == "L2") == (side == "L2") for video, side in split_videos(alone, 0.4, 0.4, 5).items())


def test_what_is_written_passes_the_check_and_the_readers(tmp_path: Path) -> None:
    root = build_epic(tmp_path, kitchen(VIDEOS[:24], 14))
    audit = audit_root(root, look_for_media=False, levels=("L1", "L2"))
    assert audit.ok and not [note for split in audit.splits for note in split.notes]
    report = json.loads((root / "build_report.json").read_text())
    rows = {split.split: split.rows for split in audit.splits}
    assert rows == {name: count["questions"] for name, count in report["splits"].items()}
    assert report["kept"] == sum(rows.values()) > 0 and min(rows.values()) > 0
    assert report["tried"] == report["kept"] + sum(report["dropped"].values())
    training = read_training_rows(root / "annotations" / "training_6k.jsonl")
    levels = {name: read_validation_rows(root / "annotations" / f"validation_{name}.jsonl") for name in ("L1", "L2")}
    videos = [{row.video_id for row in part} for part in (training, *levels.values())]
    assert not (videos[0] & videos[1] or videos[0] & videos[2] or videos[1] & videos[2])
    assert all(row.answer not in row.negative_answers for row in training)
    assert all(row.task_progress_metadata[-1].stop_frame <= row.current_observation_frame for row in training)
    named = {f"videos/{row.video_source}/{row.video_basename}" for part in (training, *levels.values()) for row in part}
    named |= {
        f"images/{row.video_source}/{row.current_observation_basename}"
        for part in (training, *levels.values())
        for row in part
    }
    media = read_media(root)
    assert named == {medium.file for medium in media} and len(media) == len(named)
    for name in ("videos", "images"):
        (root / name).mkdir()
    samples = load_training_samples(root, "training_6k.jsonl", 0, None)
    assert len(samples) == len(training) and len(load_level(root, "L2", None)) == len(levels["L2"])


def test_a_medium_says_where_to_cut(tmp_path: Path) -> None:
    root = build_epic(tmp_path, kitchen(["P01_11"], 9), BuildOptions(0, 0))
    clip = next(m for m in read_media(root) if m.file == "videos/EpicKitchens/P01_11_1_234.mp4")
    assert (clip.first_frame, clip.last_frame, clip.first_seconds, clip.last_seconds) == (1, 234, 0.0, 3.9)
    picture = next(m for m in read_media(root) if m.file == "images/EpicKitchens/P01_11_234.png")
    assert (picture.first_frame, picture.last_frame, picture.first_seconds) == (234, 234, 3.9)


def test_the_same_bytes_again_and_from_shuffled_rows(tmp_path: Path) -> None:
    rows = kitchen(VIDEOS[:12], 10)
    root = build_epic(tmp_path, rows)
    first = content(root)
    assert content(build_epic(tmp_path, rows)) == first
    random.Random(3).shuffle(rows)
    assert content(build_epic(tmp_path / "shuffled", rows)) == first
    other = content(build_epic(tmp_path, rows, dataclasses.replace(SHARES, seed=1), "other"))
    assert (
        other.keys() == first.keys()
        and other["annotations/training_6k.jsonl"] != first["annotations/training_6k.jsonl"]
    )


def test_letters_are_balanced(tmp_path: Path) -> None:
    root = build_epic(tmp_path, kitchen(VIDEOS, 14), BuildOptions(0, 0.9))
    rows = read_validation_rows(root / "annotations" / "validation_L2.jsonl")
    counts = Counter(row.golden_choice_idx for row in rows)
    # Chi-square with 3 degrees of freedom exceeds 16.3 once in a thousand.
    assert len(rows) > 300 and sum((counts[c] - len(rows) / 4) ** 2 / (len(rows) / 4) for c in "ABCD") < 16.3


STEPS = [(f"{verb} cup", 40 * i, 40 * i + 30) for i, verb in enumerate(["take", "wash", "put", "open", "cut", "stir"])]


def test_tasks_without_participants_have_no_l1(tmp_path: Path) -> None:
    file = write_tasks(tmp_path / "t.jsonl", [task_row(f"v{i}", "make tea", STEPS) for i in range(20)])
    annotations = read_annotations([file])
    with pytest.raises(ConfigError, match=r"--l1 is 0.1, and these Ego4D annotations do not say"):
        build(tmp_path / "root", [file], annotations, {}, BuildOptions(0.1, 0.2))
    report = build(tmp_path / "root", [file], annotations, {}, BuildOptions(0, 0.2))
    assert report.splits["L1"].questions == 0 and report.splits["L2"].questions > 0
    assert not (tmp_path / "root" / "annotations" / "validation_L1.jsonl").exists()


def test_a_level_of_an_earlier_build_is_not_left_behind(tmp_path: Path) -> None:
    rows = kitchen(VIDEOS[:24], 8)
    assert (build_epic(tmp_path, rows) / "annotations" / "validation_L2.jsonl").exists()
    root = build_epic(tmp_path, rows, BuildOptions(0.3, 0))
    assert not (root / "annotations" / "validation_L2.jsonl").exists()


def test_a_build_that_is_killed_leaves_nothing_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old levels beside new training rows would share videos with them."""
    rows = kitchen(VIDEOS[:30], 12)
    root = build_epic(tmp_path, rows)
    names = sorted(file.name for file in (root / "annotations").iterdir())
    assert len(names) == 3
    whole = build_module.write_rows

    def killed_after_one(file: Path, rows: list[Any]) -> None:
        whole(file, rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(build_module, "write_rows", killed_after_one)
    other = dataclasses.replace(SHARES, seed=1)
    with pytest.raises(KeyboardInterrupt):
        build_epic(tmp_path, rows, other)
    assert [file.name for file in (root / "annotations").iterdir()] == ["training_6k.jsonl"]
    assert json.loads((root / "build_report.json").read_text()) == {} and not (root / "media.jsonl").exists()
    monkeypatch.undo()
    build_epic(tmp_path, rows, other)
    assert sorted(file.name for file in (root / "annotations").iterdir()) == names


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "root" / "annotations").mkdir(parents=True)
    mine = tmp_path / "root" / "annotations" / "training_6k.jsonl"
    mine.write_text("precious")
    with pytest.raises(DataError, match="did not write"):
        build_epic(tmp_path, kitchen(["P01_11"], 6))
    assert mine.read_text() == "precious"


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no question is left for training: 3 actions of tasks were tried"):
        build_epic(tmp_path, kitchen(["P01_11"], 3), BuildOptions(0, 0))


@pytest.mark.parametrize("values", [{"l1": 1.0}, {"l1": -0.1}, {"l2": 1.5}, {"negatives": 2}])
def test_impossible_options(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BuildOptions(**({"l1": 0.1, "l2": 0.1} | values))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "../../evil.mp4"}, "a path with '..'"),
        ({"file": "/evil.mp4"}, "an absolute path"),
        ({"first_frame": "x"}, "first_frame is 'x'"),
        ({"last_frame": 10**400}, "2147483647 or less"),
        ({"last_seconds": float("inf")}, "last_seconds is inf"),
    ],
)
def test_a_list_of_media_that_was_changed_is_refused(tmp_path, changes, words):
    medium = {"file": "videos/a.mp4", "video_id": "v", "first_frame": 0, "last_frame": 9}
    times = {"first_seconds": 0.0, "last_seconds": 2.0}
    (tmp_path / "media.jsonl").write_text(json.dumps(medium | times | changes) + "\n")
    with pytest.raises(AnnotationError) as caught:
        read_media(tmp_path)
    assert "media.jsonl:1: " in str(caught.value) and words in str(caught.value)
