"""Lines on disk -> typed rows, and every problem of a file by file:line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sbr.data.rows.annotations import (
    ChatMessage,
    ChatPart,
    CotRow,
    TrainingRow,
    ValidationRow,
    read_cot_rows,
    read_training_rows,
    read_validation_rows,
    scan_rows,
    write_rows,
)
from sbr.errors import AnnotationError, DataError
from sbr.types import ProgressStep

STEPS = (ProgressStep("take cereal bag", 36, 120), ProgressStep("open cupboard", 689, 760))
GONE = object()
"""In place of a value: the key is not there."""


def file_of(folder: Path, *rows: dict[str, Any] | str) -> Path:
    file = folder / "rows.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return file


def without_gone(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not GONE}


def problems_of(read: Any, file: Path) -> list[str]:
    """The problems without the name of the file, which every one of them must begin with."""
    with pytest.raises(AnnotationError) as caught:
        read(file)
    texts = [str(problem) for problem in caught.value.problems]
    assert all(text.startswith(f"{file}:") for text in texts)
    assert all(text in str(caught.value) for text in texts[:20])
    return [text.removeprefix(f"{file}:") for text in texts]


def chat_row(*content: object, **changes: Any) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": list(content)}], "response": "<answer>A</answer>"} | changes


def test_a_training_row_has_the_values_of_its_line(tmp_path, training_row):
    assert read_training_rows(file_of(tmp_path, training_row(39))) == [
        TrainingRow(
            sample_id="39",
            video_source="EpicKitchens",
            video_id="P01_13",
            video_basename="P01_13_36_760.mp4",
            current_observation_basename="P01_13_760.png",
            current_observation_frame=760,
            task_goal="store cereal",
            question="what action should I take next in order to store cereal?",
            answer="grab onion",
            task_progress_metadata=STEPS,
            negative_answers=("open drawer", "grab knife", "close drawer", "slice onion"),
        )
    ]


def test_a_validation_row_has_its_choices_in_order_and_the_fields_of_level_3(tmp_path, validation_row):
    extra = {"domain": "Hobbies", "scenario": "Crafting", "task_start_frame": -1}
    plain, full = read_validation_rows(file_of(tmp_path, validation_row(1), validation_row(2, **extra)))
    choices = (
        "put cereal box into cupboard",
        "take cereal bag",
        "open cupboard",
        "put cereal bag into cereal box",
    )
    assert plain.choices == full.choices == choices
    assert (plain.golden_choice_idx, plain.answer) == ("C", "open cupboard")
    assert (plain.domain, plain.scenario, plain.task_start_frame) == (None, None, None)
    assert (full.domain, full.scenario, full.task_start_frame) == ("Hobbies", "Crafting", -1)


def test_row_i_is_line_i_plus_1(tmp_path, training_row):
    rows = read_training_rows(file_of(tmp_path, training_row("c"), training_row("a"), training_row("b")))
    assert [row.sample_id for row in rows] == ["c", "a", "b"]


def test_keys_that_are_not_listed_and_null_optional_ones_are_ignored(tmp_path, validation_row):
    row = validation_row(7, domain=None, scenario=None, task_start_frame=None, start_time=[1, {"x": None}], split="L1")
    assert read_validation_rows(file_of(tmp_path, row)) == read_validation_rows(file_of(tmp_path, validation_row("7")))


@pytest.mark.parametrize("name", [GONE, None, "", "clip.mp4"])
def test_without_progress_a_video_need_not_be_named(tmp_path, training_row, name):
    row = without_gone(training_row(task_progress_metadata=[], video_basename=name))
    (read,) = read_training_rows(file_of(tmp_path, row))
    assert read.task_progress_metadata == ()
    assert read.video_basename == ("clip.mp4" if name == "clip.mp4" else None)


def test_an_unused_video_name_must_still_stay_inside(tmp_path, training_row):
    file = file_of(tmp_path, training_row(task_progress_metadata=[], video_basename="../x.mp4"))
    wanted = "1: video_basename is '../x.mp4' (a path with '..'), expected a path inside the data root"
    assert problems_of(read_training_rows, file) == [wanted]


def test_steps_may_be_empty_of_text_overlap_and_begin_before_the_first_frame(tmp_path, training_row):
    steps = [
        {"narration_text": "", "start_frame": -1, "stop_frame": 0, "verb": 3},
        {"narration_text": "b", "start_frame": 0, "stop_frame": 0},
    ]
    (row,) = read_training_rows(file_of(tmp_path, training_row(task_progress_metadata=steps)))
    assert row.task_progress_metadata == (ProgressStep("", -1, 0), ProgressStep("b", 0, 0))


TEXT, FRAME, INSIDE = "a text", "a frame number, -1 or more", "a path inside the data root"
FOLDER, ID, STEP_LIST = "the name of one folder", "an integer or a text", "a list of progress steps (it may be empty)"


def step(**changes: Any) -> dict[str, Any]:
    return without_gone({"narration_text": "go", "start_frame": 5, "stop_frame": 9} | changes)


@pytest.mark.parametrize(
    ("field", "value", "found", "expected"),
    [
        *[(name, GONE, "missing", TEXT) for name in ("video_id", "task_goal", "question", "answer")],
        *[(name, None, "None", TEXT) for name in ("video_id", "task_goal", "question", "answer")],
        ("task_goal", 12, "12", TEXT),
        ("question", "  \n", "empty", TEXT),
        ("sample_id", GONE, "missing", ID),
        ("sample_id", True, "True", ID),
        ("sample_id", 1.0, "1.0", ID),
        ("sample_id", "", "empty", ID),
        ("video_source", GONE, "missing", FOLDER),
        ("video_source", "a/b", "'a/b'", FOLDER),
        ("video_source", "..", "'..' (a path with '..')", FOLDER),
        ("video_basename", GONE, "missing", INSIDE),
        ("video_basename", "", "empty", INSIDE),
        ("video_basename", "/etc/passwd", "'/etc/passwd' (an absolute path)", INSIDE),
        ("current_observation_basename", "a/../../b.png", "'a/../../b.png' (a path with '..')", INSIDE),
        ("current_observation_basename", "P01/", "'P01/' (a folder)", INSIDE),
        ("current_observation_frame", GONE, "missing", FRAME),
        ("current_observation_frame", -2, "-2", FRAME),
        ("current_observation_frame", 7.0, "7.0", FRAME),
        ("current_observation_frame", "7", "'7'", FRAME),
        ("current_observation_frame", False, "False", FRAME),
        ("task_progress_metadata", GONE, "missing", STEP_LIST),
        ("task_progress_metadata", {"a": 1}, "{'a': 1}", STEP_LIST),
        ("task_goal", "\udcff", "'\\udcff', half of a surrogate pair, which no UTF-8 file can hold", TEXT),
    ],
)
def test_a_bad_field_that_all_questions_have(tmp_path, training_row, validation_row, field, value, found, expected):
    wanted = [f"2: {field} is {found}, expected {expected}"]
    for make, read in ((training_row, read_training_rows), (validation_row, read_validation_rows)):
        file = file_of(tmp_path, make("good"), without_gone(make("bad") | {field: value}))
        assert problems_of(read, file) == wanted


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("go", "[1] is 'go', expected an object with narration_text, start_frame and stop_frame"),
        (step(narration_text=GONE), "[1].narration_text is missing, expected a text"),
        (step(narration_text=3), "[1].narration_text is 3, expected a text"),
        (step(start_frame=GONE), "[1].start_frame is missing, expected a frame number, -1 or more"),
        (step(start_frame=-2), "[1].start_frame is -2, expected a frame number, -1 or more"),
        (step(start_frame=-1, stop_frame=-1), "[1].stop_frame is -1, expected a frame number, 0 or more"),
        (step(stop_frame=4), "[1].stop_frame is 4, expected 5 (start_frame) or later"),
    ],
)
def test_a_bad_progress_step(tmp_path, training_row, bad, problem):
    file = file_of(tmp_path, training_row(task_progress_metadata=[step(), bad]))
    assert problems_of(read_training_rows, file) == [f"1: task_progress_metadata{problem}"]


@pytest.mark.parametrize(
    ("negatives", "problem"),
    [
        (GONE, "negative_answers is missing, expected a list of 3 texts or more"),
        ("a b c", "negative_answers is 'a b c', expected a list of 3 texts or more"),
        (["a", "b"], "negative_answers is a list of 2, expected a list of 3 texts or more"),
        (["a", "b", "c", 4], "negative_answers[3] is 4, expected a text"),
        (["a", "b", "c", " "], "negative_answers[3] is empty, expected a text"),
        (
            ["a", " A", "b", "Grab  Onion"],
            "negative_answers is a list of 4 with 2 such, "
            "expected 3 or more that differ from the answer and from each other",
        ),
    ],
)
def test_bad_negatives(tmp_path, training_row, negatives, problem):
    file = file_of(tmp_path, without_gone(training_row(negative_answers=negatives)))
    assert problems_of(read_training_rows, file) == [f"1: {problem}"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        *[({f"choice_{letter}": GONE}, f"choice_{letter} is missing, expected a text") for letter in "abcd"],
        ({"choice_b": ["x"]}, "choice_b is ['x'], expected a text"),
        *[
            ({"golden_choice_idx": bad}, f"golden_choice_idx is {bad!r}, expected one of A-D")
            for bad in ("E", "c", "", "AB", "BC", 2, None)
        ],
        ({"golden_choice_idx": GONE}, "golden_choice_idx is missing, expected one of A-D"),
        (
            {"golden_choice_idx": "B"},
            "answer is 'open cupboard', expected the text of choice B, 'take cereal bag'",
        ),
        ({"answer": "Open cupboard"}, "answer is 'Open cupboard', expected the text of choice C, 'open cupboard'"),
        ({"domain": 3}, "domain is 3, expected a text"),
        ({"scenario": ""}, "scenario is empty, expected a text"),
        ({"task_start_frame": -2}, "task_start_frame is -2, expected a frame number, -1 or more"),
    ],
)
def test_a_bad_field_of_a_validation_row(tmp_path, validation_row, changes, problem):
    file = file_of(tmp_path, without_gone(validation_row(**changes)))
    assert problems_of(read_validation_rows, file) == [f"1: {problem}"]


def test_equal_choices_are_kept_since_the_official_counts_include_them(tmp_path, validation_row):
    (row,) = read_validation_rows(file_of(tmp_path, validation_row(choice_d="open cupboard")))
    assert row.choices[2] == row.choices[3] == "open cupboard"


def test_all_problems_of_a_file_come_at_once(tmp_path, training_row):
    file = file_of(
        tmp_path,
        training_row(7),
        training_row(8, task_goal="", current_observation_frame=None, video_source="a/b"),
        "",
        '{"sample_id": 9,',
        "[1, 2]",
        '{"answer": "a", "answer": "b"}',
        training_row("7"),
        training_row(10),
    )
    found = problems_of(read_training_rows, file)
    assert sorted(found) == sorted(
        [
            "2: task_goal is empty, expected a text",
            "2: current_observation_frame is None, expected a frame number, -1 or more",
            "2: video_source is 'a/b', expected the name of one folder",
            "3: line is blank, expected one JSON object",
            "4: line is not JSON (Expecting property name enclosed in double quotes at column 17), "
            "expected one JSON object",
            "5: line is a JSON list, expected one JSON object",
            "6: line is an object that has the key 'answer' twice, expected one JSON object",
            "7: sample_id is '7', as on line 1, expected a new one",
        ]
    )
    assert [text[0] for text in found] == list("22234567")


def test_the_error_shows_20_problems_and_keeps_all(tmp_path, training_row):
    file = file_of(tmp_path, *(training_row(i, task_goal=i) for i in range(23)))
    with pytest.raises(AnnotationError) as caught:
        read_training_rows(file)
    assert [problem.line for problem in caught.value.problems] == list(range(1, 24))
    text = str(caught.value)
    assert text.startswith(f"23 problems in {file}:\n")
    assert f"{file}:20: " in text and f"{file}:21: " not in text
    assert "... and 3 more" in text and "sbr data check" in text


def test_an_empty_file_is_a_problem_and_a_missing_one_an_error(tmp_path):
    file = file_of(tmp_path)
    for read in (read_training_rows, read_validation_rows, read_cot_rows):
        assert problems_of(read, file) == ["1: file is empty, expected one row or more"]
    with pytest.raises(DataError, match=r"nowhere\.jsonl cannot be opened: No such file"):
        read_training_rows(tmp_path / "nowhere.jsonl")


def test_scanning_yields_the_good_rows_between_the_bad(tmp_path, training_row):
    good = json.dumps(training_row("a"))
    file = file_of(tmp_path, good, "nonsense", training_row("b"))
    lines = list(scan_rows(file, TrainingRow))
    assert [(line.number, line.row and line.row.sample_id, len(line.problems)) for line in lines] == [
        (1, "a", 0),
        (2, None, 1),
        (3, "b", 0),
    ]
    assert [line.size for line in lines][:2] == [len(good) + 1, 9]


def test_a_cot_row_keeps_messages_parts_and_the_response(tmp_path):
    user = {
        "role": "user",
        "content": [
            {"type": "video", "video": "videos/EpicKitchens/P01_13.mp4", "image": None, "text": None},
            {"type": "image", "image": "images/EpicKitchens/P01_13_760.png"},
            {"type": "text", "text": "What next?"},
        ],
    }
    prompt = [{"role": "system", "content": "Be brief."}, user]
    file = file_of(
        tmp_path, {"prompt": prompt, "response": "<answer>B</answer>"}, chat_row(user["content"][2], sample_id=5)
    )
    assert read_cot_rows(file) == [
        CotRow(
            prompt=(
                ChatMessage("system", (ChatPart("text", "Be brief."),)),
                ChatMessage(
                    "user",
                    (
                        ChatPart("video", "videos/EpicKitchens/P01_13.mp4"),
                        ChatPart("image", "images/EpicKitchens/P01_13_760.png"),
                        ChatPart("text", "What next?"),
                    ),
                ),
            ),
            response="<answer>B</answer>",
            sample_id=None,
        ),
        CotRow(
            prompt=(ChatMessage("user", (ChatPart("text", "What next?"),)),),
            response="<answer>A</answer>",
            sample_id="5",
        ),
    ]


OK = {"type": "text", "text": "hi"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"response": "A"}, "prompt is missing, expected a list of one chat message or more"),
        ({"prompt": [], "response": "A"}, "prompt is a list of 0, expected a list of one chat message or more"),
        ({"prompt": "hi", "response": "A"}, "prompt is 'hi', expected a list of one chat message or more"),
        (
            {"prompt": ["hi"], "response": "A"},
            "prompt[0] is 'hi', expected a message with a role of system, user, assistant",
        ),
        (chat_row(), "prompt[0].content is [], expected a text or a list of parts"),
        (chat_row("hi"), "prompt[0].content[0] is 'hi', expected a part with a type of text, image, video"),
        (
            chat_row(OK, {"type": "audio"}),
            "prompt[0].content[1] is {'type': 'audio'}, expected a part with a type of text, image, video",
        ),
        (chat_row({"type": "text"}), "prompt[0].content[0].text is missing, expected a text"),
        (
            chat_row({"type": "video", "video": None}),
            "prompt[0].content[0].video is None, expected a path inside the data root",
        ),
        (
            chat_row({"type": "image", "image": "/x.png"}),
            "prompt[0].content[0].image is '/x.png' (an absolute path), expected a path inside the data root",
        ),
        (chat_row(OK, response=" "), "response is empty, expected a text"),
        (chat_row(OK, sample_id=[]), "sample_id is [], expected an integer or a text"),
        (
            {"prompt": [{"role": "tool", "content": "x"}], "response": "A"},
            "prompt[0] is {'role': 'tool', 'content': 'x'}, expected a message with a role of system, user, assistant",
        ),
    ],
)
def test_a_bad_cot_row(tmp_path, row, problem):
    assert problems_of(read_cot_rows, file_of(tmp_path, row)) == [f"1: {problem}"]


def test_written_rows_are_read_back_and_none_is_left_out(tmp_path, training_row, validation_row):
    odd = {"task_goal": 'crêpe\u2028 "x" 茶', "task_progress_metadata": [], "video_basename": None}
    chat = chat_row(OK, {"type": "video", "video": "videos/a.mp4"})
    for read, kind, rows in (
        (read_training_rows, TrainingRow, [training_row(1), training_row(2, **odd)]),
        (read_validation_rows, ValidationRow, [validation_row(1, domain="Work"), validation_row(2, **odd)]),
        (read_cot_rows, CotRow, [chat, chat | {"sample_id": "z"}]),
    ):
        before = read(file_of(tmp_path, *rows))
        out = tmp_path / "new" / "out.jsonl"
        write_rows(out, before)
        after = read(out)
        assert len(after) == 2 and after == before and type(after[0]) is kind
        # The official form of the same row: only the ids become texts, and null keys go.
        on_disk = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n")[:-1]]
        texts = [{k: str(v) if k == "sample_id" else v for k, v in row.items() if v is not None} for row in rows]
        assert on_disk == texts


def test_nothing_is_written_when_a_reader_would_refuse_the_rows(tmp_path, training_row):
    (row,) = read_training_rows(file_of(tmp_path, training_row("a")))
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    with pytest.raises(AnnotationError) as caught:
        write_rows(out, [row, row])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{out}:2: sample_id is 'a', as on line 1, expected a new one"
    ]
    with pytest.raises(DataError, match="no rows to write"):
        write_rows(out, [])
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]
