"""Action annotations as they are read: every problem with its place, and what is odd about the real files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from build_sources import epic_row, kitchen, task_row, write_epic, write_tasks

from sbr.data.build.action_files import read_annotations
from sbr.data.build.actions import Action, simultaneous
from sbr.errors import AnnotationError, ConfigError, DataError

REAL = Path(__file__).resolve().parents[5] / "shared" / "reference" / "annotations"


def action(start: int, stop: int) -> Action:
    return Action("x", start, stop, None, None, ())


def test_epic_rows_become_actions_in_order_of_time(tmp_path: Path) -> None:
    rows = kitchen(["P01_11", "P02_101"], 3)
    annotations = read_annotations([write_epic(tmp_path, rows[::-1])])
    assert annotations.source == "EpicKitchens" and annotations.tasks == ()
    assert dict(annotations.participants) == {"P01_11": "P01", "P02_101": "P02"}
    assert [a.narration for a in annotations.actions["P01_11"]] == [str(row["narration"]) for row in rows[:3]]
    first = annotations.actions["P01_11"][1]
    assert (first.start_frame, first.stop_frame, first.start_seconds, first.stop_seconds) == (121, 234, 2.0, 3.9)
    assert annotations.counts["actions"] == 6
    # Frames are the times at 60 a second.  The list of videos says 50: right for P02_101 (three digits), and nothing
    # is said for P01_11, whose pictures were taken at 60.
    assert annotations.counts["rows whose frame numbers are not their times at the video's rate"] == 6
    assert annotations.counts["rows whose frame numbers are not their times at the rate of the pictures"] == 3


@pytest.mark.parametrize(
    ("changes", "field", "found"),
    [
        ({"start_frame": "x"}, "start_frame", "'x'"),
        ({"start_frame": "-4"}, "start_frame", "'-4'"),
        ({"stop_frame": "1"}, "stop_frame", "1"),
        ({"start_timestamp": "1:2"}, "start_timestamp", "'1:2'"),
        ({"start_timestamp": ""}, "start_timestamp", "empty"),
        ({"stop_timestamp": "00:00:00.00"}, "stop_timestamp", "0.0 s"),
        ({"narration": " "}, "narration", "empty"),
        ({"verb_class": "take"}, "verb_class", "'take'"),
        ({"all_noun_classes": "['a']"}, "all_noun_classes", "['a']"),
        ({"narration_id": "P01_11_0"}, "narration_id", "as in EPIC_100_validation.csv:2"),
        ({"participant_id": "P02"}, "participant_id", "'P02'"),
        ({"video_id": "../x"}, "video_id", "'..'"),
    ],
)
def test_bad_epic_rows_are_named(tmp_path: Path, changes: dict[str, Any], field: str, found: str) -> None:
    rows = [epic_row("P01_11", 0, 0, 0, 1, 2), epic_row("P01_11", 1, 1, 1, 3, 4, **changes)]
    with pytest.raises(AnnotationError) as caught:
        read_annotations([write_epic(tmp_path, rows)])
    assert any(p.line == 3 and p.field == field and found in p.found for p in caught.value.problems), caught.value


def test_video_that_nobody_knows(tmp_path: Path) -> None:
    file = write_epic(tmp_path, kitchen(["P01_11"], 2))
    (tmp_path / "EPIC_100_video_info.csv").write_text("video_id,fps\nP09_01,50\n")
    with pytest.raises(AnnotationError, match=r"validation.csv:2: video_id is 'P01_11', expected a video of EPIC_100"):
        read_annotations([file])
    (tmp_path / "EPIC_100_video_info.csv").unlink()
    with pytest.raises(DataError, match="cannot be opened"):
        read_annotations([file])


def test_epic_files_of_the_test_set_have_no_narrations(tmp_path: Path) -> None:
    file = write_epic(tmp_path, kitchen(["P01_11"], 2))
    lines = [",".join(line.split(",")[:8]) for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match="no column narration, verb_class, all_noun_classes"):
        read_annotations([file])


def test_rows_with_too_few_and_too_many_columns(tmp_path: Path) -> None:
    file = write_epic(tmp_path, kitchen(["P01_11"], 2))
    head, one, two = file.read_text().splitlines()
    file.write_text("\n".join([head, one.rpartition(",")[0].rpartition(",")[0], two + ",9"]))
    with pytest.raises(AnnotationError) as caught:
        read_annotations([file])
    assert {(p.line, p.field) for p in caught.value.problems} == {(2, "all_noun_classes"), (3, "line")}


STEPS = [("Opens the tap", -1, 22), ("Washes a cup.", 22, 111), ("Washes a cup.", 22, 111), ("", 111, 111)]


def test_tasks_and_the_actions_of_their_video(tmp_path: Path) -> None:
    rows = [
        task_row("b", "wash up", STEPS[:2]),
        task_row("a", "wash up", STEPS[:2]),
        task_row("a", "wash  the cup", STEPS[1:]),
        task_row("a", "nothing", []),
        task_row("b", "wash up", STEPS[:2]),
    ]
    annotations = read_annotations([write_tasks(tmp_path / "tasks.jsonl", rows)])
    assert annotations.source == "Ego4D" and dict(annotations.participants) == {"a": "a", "b": "b"}
    assert [task.goal for task in annotations.tasks] == ["nothing", "wash up", "wash the cup", "wash up"]
    assert [a.narration for a in annotations.actions["a"]] == ["Opens the tap", "Washes a cup.", ""]
    counts = annotations.counts
    assert (counts["rows"], counts["tasks that are there twice"], counts["tasks without any action"]) == (5, 1, 1)
    assert (counts["actions with an empty narration"], counts["actions without length"]) == (1, 1)
    assert counts["actions from before the first frame"] == 2


def test_gzip_is_read_and_a_cut_one_named(tmp_path: Path) -> None:
    plain = write_tasks(tmp_path / "t.jsonl", [task_row(f"v{i}", "wash up", STEPS) for i in range(200)])
    packed = tmp_path / "t2.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_annotations([packed]).actions == read_annotations([plain]).actions
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_annotations([packed])
    packed.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_annotations([packed])


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "line"),
        ("", "line"),
        (json.dumps(task_row("", "g", STEPS)), "video_uid"),
        (json.dumps(task_row("a/b", "g", STEPS)), "video_uid"),
        (json.dumps(task_row("a", " ", STEPS)), "task_goal"),
        (json.dumps(task_row("a", "g", [("x", 5, 4)])), "task_progress_metadata[0].stop_frame"),
        (json.dumps(task_row("a", "g", [("x", -2, 4)])), "task_progress_metadata[0].start_frame"),
        (json.dumps({"video_uid": "a", "task_goal": "g"}), "task_progress_metadata"),
    ],
)
def test_bad_task_lines_are_named(tmp_path: Path, line: str, field: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(task_row("a", "g", STEPS)) + "\n" + line + "\n")
    with pytest.raises(AnnotationError) as caught:
        read_annotations([file])
    assert [(p.line, p.field) for p in caught.value.problems] == [(2, field)]


def test_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one kind at a time"):
        read_annotations([tmp_path / "a.csv", tmp_path / "b.jsonl"])
    with pytest.raises(ConfigError, match=r"EPIC-KITCHENS annotations \(.csv\)"):
        read_annotations([tmp_path / "a.txt"])
    for name in ("a.jsonl", "a.csv"):  # the one that was named, not the one beside it
        with pytest.raises(DataError, match=rf"{name} cannot be opened: No such file"):
            read_annotations([tmp_path / name])
    with pytest.raises(DataError, match="no action at all"):
        read_annotations([write_tasks(tmp_path / "empty.jsonl", [])])


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        (action(0, 10), action(10, 20), False),
        (action(0, 10), action(5, 15), False),  # exactly half of the shorter
        (action(0, 10), action(4, 15), True),
        (action(0, 100), action(90, 95), True),  # inside
        (action(5, 5), action(5, 9), True),  # no length: which came first cannot be told
        (action(3, 3), action(5, 9), False),
    ],
)
def test_simultaneous(a: Action, b: Action, together: bool) -> None:
    assert simultaneous(a, b) is together and simultaneous(b, a) is together


@pytest.mark.skipif(not (REAL / "EPIC_100_validation.csv").exists(), reason="EPIC annotations are not at hand")
def test_real_epic_file() -> None:
    counts = read_annotations([REAL / "EPIC_100_validation.csv"]).counts
    assert (counts["rows"], counts["videos"], counts["participants"]) == (9668, 138, 32)
    assert counts["rows without narration_timestamp"] == 70
    assert counts["neighbours with equal narrations"] == 608
    # Counted apart with awk: 16,851 + 142 + 84 + 53 of 19,336 times are frame / 60 and not frame / fps.
    assert counts["rows whose frame numbers are not their times at the rate of the pictures"] == 0
    assert counts["rows whose frame numbers are not their times at the video's rate"] > 8000


@pytest.mark.skipif(not (REAL / "ego4d_cooking_instances.jsonl.gz").exists(), reason="Ego4D tasks are not at hand")
def test_real_ego4d_file() -> None:
    counts = read_annotations([REAL / "ego4d_cooking_instances.jsonl.gz"]).counts
    expected = {
        "rows": 15875,
        "videos": 872,
        "actions": 66872,
        "tasks without any action": 136,
        "tasks that are there twice": 18,
        "actions without length": 470,
        "actions from before the first frame": 52,
        "neighbours with equal narrations": 560,
    }
    assert {name: counts[name] for name in expected} == expected
