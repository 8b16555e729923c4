"""CoT files as training examples: rows of one question, wrong rows, whole videos held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbr.config.inputs import DataConfig
from sbr.data.rows.annotations import ChatPart
from sbr.data.sources.cot import CotQuestion, hold_out, load_cot_questions
from sbr.errors import AnnotationError, ConfigError, DataError

NAME = "training_with_cot_6k.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("annotations", "videos/EpicKitchens", "images/EpicKitchens"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def cot_row(number: int = 0, response: str = "<think>t</think><answer>A</answer>", **values: Any) -> dict[str, Any]:
    """A row as the official file has them: null columns beside the ones in use."""
    parts = [
        {"type": "video", "video": f"videos/EpicKitchens/{number}.mp4", "image": None, "text": None},
        {"type": "image", "image": f"images/EpicKitchens/{number}.png", "video": None, "text": None},
        {"type": "text", "text": f"What next, {number}?\nA. cut\n", "image": None},
    ]
    return {"prompt": [{"role": "user", "content": parts}], "response": response} | values


def write(root: Path, rows: list[dict[str, Any]], name: str = NAME) -> Path:
    file = root / "annotations" / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"root": root, **values})


def test_rows_of_equal_prompts_are_one_question(root: Path) -> None:
    file = write(root, [cot_row(0, "a"), cot_row(1, "b", sample_id=7), cot_row(0, "c"), cot_row(1, "d", sample_id=7)])
    first, second = load_cot_questions(config(root))
    assert (first.sample_id, first.responses, second.sample_id, second.responses) == (
        "line 1",
        ("a", "c"),
        "7",
        ("b", "d"),
    )
    assert first.where == f"{file}:1"
    assert (first.video, first.image) == (root / "videos/EpicKitchens/0.mp4", root / "images/EpicKitchens/0.png")
    assert first.messages[0].content[2] == ChatPart("text", "What next, 0?\nA. cut\n")
    (only,) = load_cot_questions(config(root, limit=1))
    assert only.responses == ("a",)


def test_one_sample_asked_in_other_words_is_another_question(root: Path) -> None:
    other = cot_row(0, "b", sample_id=7)
    other["prompt"][0]["content"][2]["text"] = "What next?\nA. open\n"
    write(root, [cot_row(0, "a", sample_id=7), other])
    assert [question.responses for question in load_cot_questions(config(root))] == [("a",), ("b",)]


def test_a_file_elsewhere_is_named_by_a_path(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "runs" / "cot.jsonl"
    moved.parent.mkdir()
    write(root, [cot_row()]).rename(moved)
    (question,) = load_cot_questions(config(root, cot_file=str(moved)))
    assert question.image == root / "images/EpicKitchens/0.png"  # media stay below the root
    with pytest.raises(DataError, match=r"runs/none\.jsonl does not exist"):
        load_cot_questions(config(root, cot_file=str(moved.with_name("none.jsonl"))))
    with pytest.raises(DataError, match=r"training_with_cot_6k\.jsonl does not exist"):
        load_cot_questions(config(root))


def test_wrong_rows_are_all_named(root: Path, tmp_path: Path) -> None:
    assistant = cot_row(1)
    assistant["prompt"].append({"role": "assistant", "content": "Hm."})
    two = cot_row(2)
    two["prompt"][0]["content"] += [{"type": "image", "image": "images/EpicKitchens/3.png"}]
    none = {"prompt": [{"role": "user", "content": "What next?"}], "response": "A"}
    (tmp_path.parent / "secret.png").write_text("x")
    (root / "images/EpicKitchens/link.png").symlink_to(tmp_path.parent / "secret.png")
    out = cot_row(4)
    out["prompt"][0]["content"][1]["image"] = "images/EpicKitchens/link.png"
    write(root, [cot_row(0), assistant, two, none, out])
    with pytest.raises(AnnotationError) as caught:
        load_cot_questions(config(root))
    found = [(problem.line, problem.field, problem.found) for problem in caught.value.problems]
    assert found[:3] == [
        (2, "prompt", "one that does not"),
        (3, "prompt", "a chat with 1 videos and 2 images"),
        (4, "prompt", "a chat with 0 videos and 0 images"),
    ]
    assert found[3][:2] == (5, "prompt[0].content[1].image")
    assert "a link to" in found[3][2]
    assert "SFT cannot learn from these rows" in str(caught.value)
    write(root, [cot_row(0), {"prompt": "x", "response": "A"}])
    with pytest.raises(AnnotationError, match=rf"{NAME}:2: prompt is 'x', expected a list of one chat message or more"):
        load_cot_questions(config(root))


def questions_of(root: Path, videos: list[str | None]) -> list[CotQuestion]:
    write(root, [cot_row(i, video_id=video) for i, video in enumerate(videos)])
    return load_cot_questions(config(root))


def test_whole_videos_are_held_out(root: Path) -> None:
    videos = [f"P{i // 3}" for i in range(30)]
    questions = questions_of(root, list(videos))
    seen = set()
    for seed in range(6):
        train, held_out = hold_out(questions, config(root), 0.15, seed)
        assert sorted(train + held_out, key=questions.index) == questions
        assert not {q.video_id for q in train} & {q.video_id for q in held_out}
        assert len(held_out) == 6  # 4.5 questions, rounded up to whole videos
        assert hold_out(questions, config(root), 0.15, seed) == (train, held_out)
        seen.add(tuple(q.sample_id for q in held_out))
    assert len(seen) > 1
    assert hold_out(questions, config(root), 0.0, 0) == (questions, [])
    with pytest.raises(ConfigError, match="leaves none to train on"):
        hold_out(questions[:3], config(root), 0.1, 0)


def test_the_video_may_come_from_the_training_rows_and_is_never_guessed(
    root: Path, training_row: Callable[..., dict[str, Any]]
) -> None:
    questions = questions_of(root, [None] * 8)
    with pytest.raises(DataError, match=r"training_6k\.jsonl does not exist"):
        hold_out(questions, config(root), 0.2, 0)
    rows = [
        training_row(
            i,
            video_source="EpicKitchens",
            video_id=f"P{i // 2}",
            video_basename=f"other_{i}.mp4",
            current_observation_basename=f"{i}.png",
        )
        for i in range(8)
    ]
    write(root, rows, "training_6k.jsonl")
    train, held_out = hold_out(questions, config(root), 0.2, 0)
    numbers = sorted(int(q.sample_id.removeprefix("line ")) - 1 for q in held_out)
    assert len(train) == 6
    assert numbers[0] // 2 == numbers[1] // 2
    write(root, rows[:5], "training_6k.jsonl")
    with pytest.raises(DataError, match=rf"for 3 questions the video is not known, the first at .*{NAME}:6"):
        hold_out(questions, config(root), 0.2, 0)
