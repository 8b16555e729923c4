"""lvb_val.json -> Samples: made-up rows in the form of the release, and four rows of it where they lie near."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sbr.data.sources.longvideobench import load_level
from sbr.errors import AnnotationError, DataError
from sbr.types import Subtitle

REAL = Path(__file__).resolve().parents[5] / "shared" / "reference" / "annotations" / "lvb_val_sample4.json"


def row(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "video_id": f"v{number}",
        "question": "When the man says 'go', what does he do?",
        "question_wo_referring_query": "What does he do?",
        "candidates": ["runs", "sits", "sings"],
        "correct_choice": 1,
        "position": [10],
        "topic_category": "LT-Travel-Guides",
        "question_category": "T2A",
        "level": "L1-Perception",
        "id": f"v{number}_0",
        "video_path": f"v{number}.mp4",
        "subtitle_path": f"v{number}_en.json",
        "duration_group": 15,
        "starting_timestamp_for_subtitles": 0,
        "duration": 12.5,
        "view_count": 3,
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def root_of(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "lvb_val.json").write_text(json.dumps(rows))
    return tmp_path


def test_a_row_becomes_a_question_about_a_whole_video_without_an_image(tmp_path):
    sample = load_level(root_of(tmp_path, [row(7, duration_group=3600, level="L2-Relation")]), "val", None)[0]
    assert (sample.sample_id, sample.split, sample.domain) == ("v7_0", "val", "LT-Travel-Guides")
    assert sample.video == tmp_path.resolve() / "videos" / "v7.mp4"
    assert (sample.image, sample.task_goal, sample.scenario, sample.progress) == (None, None, None, ())
    assert sample.question == "When the man says 'go', what does he do?"
    assert (sample.options, sample.gold, sample.gold_text) == (("runs", "sits", "sings"), "B", "sits")
    assert (sample.video_source, sample.video_id) == ("LongVideoBench", "v7")
    assert sample.groups == (("duration", "(900,3600]"), ("level", "L2 (Relation)"), ("category", "T2A"))


def test_two_to_five_options_and_a_limit(tmp_path):
    rows = [
        row(1, candidates=["a", "b"], correct_choice=0),
        row(2, candidates=list("vwxyz"), correct_choice=4),
        row(3),
    ]
    samples = load_level(root_of(tmp_path, rows), "val", 2)
    assert [(len(sample.options), sample.gold) for sample in samples] == [(2, "A"), (5, "E")]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"candidates": ["a"], "correct_choice": 0}, "candidates is a list of 1, expected a list of 2 texts or more"),
        ({"candidates": list("abcdef")}, "candidates is a list of 6, expected 2 to 5 texts"),
        ({"candidates": ["a", 3]}, "candidates[1] is 3, expected a text"),
        ({"correct_choice": 3}, "correct_choice is 3, expected the index of a candidate, 0 to 2"),
        ({"correct_choice": True}, "correct_choice is True, expected"),
        ({"correct_choice": None}, "correct_choice is missing, expected"),
        ({"duration_group": 30}, "duration_group is 30, expected one of 15, 60, 600, 3600"),
        ({"duration_group": "15"}, "duration_group is '15', expected one of"),
        ({"level": "L3"}, "level is 'L3', expected one of L1-Perception, L2-Relation"),
        ({"video_path": "../v.mp4"}, "video_path is '../v.mp4' (a path with '..'), expected a path below videos/"),
        ({"video_path": "/v.mp4"}, "video_path is '/v.mp4' (an absolute path)"),
        ({"topic_category": None}, "topic_category is missing, expected a text"),
        ({"question_category": ""}, "question_category is empty, expected a text"),
        ({"question": 5}, "question is 5, expected a text"),
        ({"id": "v1_0"}, "id is 'v1_0', as in an earlier row, expected a new one"),
    ],
)
def test_every_problem_names_file_row_and_field(tmp_path, changes, problem):
    root = root_of(tmp_path, [row(1), row(2, **changes)])
    with pytest.raises(AnnotationError) as caught:
        load_level(root, "val", 1)  # the whole file is checked, also with a limit
    assert len(caught.value.problems) == 1
    assert f"{root / 'lvb_val.json'}:1: row 2, {problem}" in str(caught.value)


def test_another_level_or_a_missing_folder_is_refused(tmp_path):
    root = root_of(tmp_path, [row(1)])
    with pytest.raises(DataError, match="no level 'L1'; its questions are the level 'val'"):
        load_level(root, "L1", None)
    shutil.rmtree(root / "videos")
    with pytest.raises(DataError, match="no folder videos/"):
        load_level(root, "val", None)


def with_subtitles(tmp_path: Path, texts: Any, **changes: Any) -> Path:
    root = root_of(tmp_path, [row(1, **changes)])
    (root / "subtitles").mkdir()
    (root / "subtitles" / "v1_en.json").write_text(json.dumps(texts))
    return root


def test_both_forms_of_subtitles_count_from_the_beginning_of_the_video(tmp_path):
    texts = [
        {"timestamp": [100, 102.5], "text": "one"},
        {"timestamp": [110.0, None], "text": ""},
        {"start": "00:01:45.000", "end": "00:01:46.500", "line": "three"},
    ]
    root = with_subtitles(tmp_path, texts, starting_timestamp_for_subtitles=100)
    (sample,) = load_level(root, "val", None, subtitles=True)
    assert sample.subtitles == (Subtitle("one", 0.0, 2.5), Subtitle("", 10.0, 12.5), Subtitle("three", 5.0, 6.5))
    assert load_level(root, "val", None)[0].subtitles is None
    (root / "subtitles" / "v1_en.json").write_text("[]")
    assert load_level(root, "val", None, subtitles=True)[0].subtitles == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ({"timestamp": [1], "text": "a"}, "timestamp is [1], expected a list of two times in seconds"),
        ({"timestamp": ["1", 2], "text": "a"}, "timestamp is ['1', 2], expected"),
        ({"timestamp": [1, 2]}, "text is missing, expected a text"),
        ({"start": "1.0", "end": "00:00:02", "line": "a"}, "start is '1.0', expected a time such as 00:01:02.500"),
        ({"start": "00:00:01", "line": "a"}, "end is missing, expected a time such as"),
    ],
)
def test_problems_of_subtitles_name_their_file_and_row(tmp_path, text, problem):
    root = with_subtitles(tmp_path, [{"timestamp": [0, 1], "text": "x"}, text])
    with pytest.raises(AnnotationError) as caught:
        load_level(root, "val", None, subtitles=True)
    assert f"v1_en.json:1: row 2, {problem}" in str(caught.value)
    assert len(caught.value.problems) == 1


def test_missing_subtitles_are_refused_only_when_they_are_asked_for(tmp_path):
    root = root_of(tmp_path, [row(1)])
    with pytest.raises(DataError, match=r"v1_en\.json do not exist; unpack them there"):
        load_level(root, "val", None, subtitles=True)
    (root / "lvb_val.json").write_text(json.dumps([row(1, duration=None, subtitle_path="../x.json")]))
    assert len(load_level(root, "val", None)) == 1
    with pytest.raises(AnnotationError) as caught:
        load_level(root, "val", None, subtitles=True)
    assert {problem.field for problem in caught.value.problems} == {"row 1, subtitle_path", "row 1, duration"}


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not there")
def test_rows_of_the_release(tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(REAL, tmp_path / "lvb_val.json")
    samples = load_level(tmp_path, "val", None)
    assert [sample.sample_id for sample in samples] == [f"{name}_0" for name in REAL_VIDEOS]
    assert [sample.gold for sample in samples] == ["B", "A", "E", "B"]
    assert [len(sample.options) for sample in samples] == [4, 4, 5, 5]
    assert {dict(sample.groups)["duration"] for sample in samples} == {"(180,600]"}
    assert [dict(sample.groups)["category"] for sample in samples] == ["TOS", "T2A", "S2E", "T3E"]


REAL_VIDEOS = ("86CxyhFV9MI", "9PD3ciudpIE", "QJ6sjg7SXOQ", "mH9LdC7IFH8")
