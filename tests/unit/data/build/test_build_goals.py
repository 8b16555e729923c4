"""Goals from a file, and from what a model said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from build_sources import goal_rows, kitchen, write_epic, write_goal_rows

from sbr.data.build.action_files import read_annotations
from sbr.data.build.actions import Annotations
from sbr.data.build.goals import (
    GoalAnswer,
    GoalSegment,
    Stretch,
    add_goals,
    goals_of,
    parse_reply,
    read_goals,
    stretches,
    write_goals,
)
from sbr.errors import AnnotationError, DataError


@pytest.fixture
def annotations(tmp_path: Path) -> Annotations:
    return read_annotations([write_epic(tmp_path, kitchen(["P01_11", "P01_12", "P02_01"], 12))])


def test_goals_cover_the_actions_that_begin_inside(annotations: Annotations) -> None:
    actions = annotations.actions["P01_11"]
    segments = [
        GoalSegment("P01_11", "make tea", actions[2].start_frame, actions[5].start_frame),
        GoalSegment("P01_11", "tidy up", actions[4].start_frame - 1, actions[6].start_frame + 1),
        GoalSegment("P01_12", "nothing", 10**6, 10**6 + 1),
        GoalSegment("P09_01", "unknown", 0, 10),
    ]
    added = add_goals(annotations, segments)
    assert [(task.goal, task.actions) for task in added.annotations.tasks] == [
        ("make tea", actions[2:6]),
        ("tidy up", actions[4:7]),
    ]
    assert dict(added.counts) == {
        "goals": 4,
        "goals without any action": 1,
        "goals of videos that are not in the annotations": 1,
        "actions without a goal": 36 - 5,
    }


@pytest.mark.parametrize("name", ["goals.csv", "goals.jsonl"])
def test_goal_files_of_both_kinds(tmp_path: Path, name: str) -> None:
    rows = goal_rows(kitchen(["P01_11", "P02_01"], 5), "make  tea")
    segments = read_goals(write_goal_rows(tmp_path / name, rows))
    assert segments == [GoalSegment(row["video_id"], "make tea", 0, row["stop_frame"]) for row in rows]
    again = tmp_path / "again.jsonl"
    again.write_bytes(write_goals(segments))
    assert read_goals(again) == segments


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task_goal": " "}, "task_goal"),
        ({"start_frame": "a"}, "start_frame"),
        ({"start_frame": 9, "stop_frame": 8}, "stop_frame"),
        ({"video_id": ""}, "video_id"),
    ],
)
@pytest.mark.parametrize("name", ["goals.csv", "goals.jsonl"])
def test_bad_goals_are_named(tmp_path: Path, changes: dict[str, Any], field: str, name: str) -> None:
    row = {"video_id": "v", "task_goal": "g", "start_frame": 1, "stop_frame": 5}
    with pytest.raises(AnnotationError) as caught:
        read_goals(write_goal_rows(tmp_path / name, [row, row | changes]))
    assert [(p.line, p.field) for p in caught.value.problems] == [(3 if name.endswith("csv") else 2, field)]


def test_no_goals_at_all(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no goal"):
        read_goals(tmp_path / "g.jsonl")
    with pytest.raises(DataError, match="cannot be opened"):
        read_goals(tmp_path / "none.csv")


def test_stretches_hold_every_action_once(annotations: Annotations) -> None:
    parts = list(stretches(annotations, 5))
    assert [len(part.actions) for part in parts] == [4, 4, 4] * 3
    for video, actions in annotations.actions.items():
        assert sum((part.actions for part in parts if part.video_id == video), ()) == actions
    lines = parts[0].messages()[1]["content"].splitlines()
    assert lines == [f"{i}. {action.narration}" for i, action in enumerate(parts[0].actions, 1)]


@pytest.fixture
def stretch(annotations: Annotations) -> Stretch:
    return next(stretches(annotations, 40))


def reply(*items: Any) -> str:
    return json.dumps(list(items))


GOAL = {"goal": "make tea", "first": 2, "last": 5}


@pytest.mark.parametrize(
    ("text", "goals", "left_out"),
    [
        (reply(GOAL), ["make tea"], 0),
        (
            '<think>[1, 2] [{"goal": "wrong", "first": 1, "last": 2}]</think>```json\n' + reply(GOAL) + "\n```",
            ["make tea"],
            0,
        ),
        (reply(), [], 0),
        (reply(GOAL) + "\nLeft out: []", ["make tea"], 0),
        ("<think>Maybe " + reply(GOAL) + "? No,", None, 0),
        ("<think>Maybe " + reply(GOAL) + "? No.</think>None of them.", None, 0),
        ("Maybe " + reply(GOAL) + "</think>" + reply(), [], 0),
        (reply(GOAL, GOAL | {"goal": "wash up.", "first": 6, "last": 12}), ["make tea", "wash up"], 0),
        (reply(GOAL | {"last": 13}), [], 1),
        (reply(GOAL | {"first": 0}), [], 1),
        (reply(GOAL | {"first": 6}), [], 1),
        (reply(GOAL | {"first": "2"}), [], 1),
        (reply(GOAL | {"first": True}), [], 1),
        (reply(GOAL | {"goal": " "}), [], 1),
        (reply(GOAL | {"goal": "x" * 201}, GOAL), ["make tea"], 1),
        (reply({}), [], 1),
        ("", None, 0),
        ("I do not know.", None, 0),
        ("[1, 2]", None, 0),
        (reply(GOAL)[:-3], None, 0),
        ("[" * 3_000, None, 0),
    ],
)
def test_replies(stretch: Stretch, text: str, goals: list[str] | None, left_out: int) -> None:
    found, bad = parse_reply(stretch, text)
    assert (None if found is None else [segment.task_goal for segment in found], bad) == (goals, left_out)
    if goals and goals[0] == "make tea":
        assert found is not None
        assert found[0].start_frame == stretch.actions[1].start_frame
        assert found[0].stop_frame == stretch.actions[4].start_frame


def test_failed_answers_are_counted_and_nothing_is_made_up(annotations: Annotations) -> None:
    parts = list(stretches(annotations, 40))
    answers = {
        part.key("m"): GoalAnswer(part.key("m"), part.video_id, text)
        for part, text in zip(parts, [reply(GOAL), "no idea"], strict=False)
    }
    segments, counts = goals_of(parts, answers, "m")
    assert [segment.video_id for segment in segments] == [parts[0].video_id]
    assert (counts["stretches"], counts["stretches without an answer"], counts["answers that cannot be read"]) == (
        3,
        1,
        1,
    )
    assert goals_of(parts, answers, "another model")[0] == []
