"""Rows to learn from: read back by the reader of the official file, and the figures of the report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.config.asking import DistillConfig
from sbr.config.inputs import DataConfig, ModelConfig
from sbr.config.recipes import DistillRecipe
from sbr.data.rows.annotations import ChatPart, TrainingRow, read_cot_rows, write_rows
from sbr.distill.report import Hard, report_of
from sbr.distill.rows import COT_FILE, load_asked, write_cot_file
from sbr.distill.samples import TeacherSample
from sbr.distill.select import judge
from sbr.errors import ConfigError
from sbr.prompt.template import question_text
from sbr.types import ProgressStep

STEP = ProgressStep("fill kettle", 0, 40)


def training_row(number: int, video: bool = True) -> TrainingRow:
    return TrainingRow(
        sample_id=str(number),
        video_source="EpicKitchens",
        video_id="P01_13",
        video_basename=f"clip {number}.mp4" if video else None,
        current_observation_basename=f"{number}.png",
        current_observation_frame=40,
        task_goal="make tea",
        question="What next?",
        answer="boil kettle",
        task_progress_metadata=(STEP,) if video else (),
        negative_answers=("open tap", "close tap", "take cup", "put cup"),
    )


@pytest.fixture
def recipe(tmp_path: Path) -> DistillRecipe:
    root = tmp_path / "root"
    (root / "videos").mkdir(parents=True)
    (root / "images").mkdir()
    rows = [training_row(7), training_row(3, video=False), training_row(5)]
    write_rows(root / "annotations" / "training_6k.jsonl", rows)
    return DistillRecipe(
        model=ModelConfig(path="teacher"),
        data=DataConfig(root=root),
        output_dir=tmp_path / "out",
        distill=DistillConfig(samples=2, temperature=0.7),
    )


def answer(asked, index: int, right: bool, words: str = "so") -> TeacherSample:
    sample = asked.sample
    letter = sample.gold if right else next(letter for letter in "ABCD" if letter != sample.gold)
    text = f"<think>{words} {index}</think><answer>{letter}</answer>"
    return TeacherSample(sample.sample_id, index, "p", sample.options, sample.gold, text, 10, False, 0.5)


def judged(asked, recipe) -> list[TeacherSample]:
    first, second, third = asked
    return [
        *judge([answer(first, 0, True), answer(first, 1, True)], recipe.distill),
        *judge([answer(second, 0, False), answer(second, 1, True)], recipe.distill),
        *judge([answer(third, 0, False), answer(third, 1, False)], recipe.distill),
    ]


def test_kept_answers_become_rows_that_the_reader_of_the_official_file_accepts(recipe) -> None:
    asked = load_asked(recipe)
    file = recipe.output_dir / COT_FILE
    samples = judged(asked, recipe)
    assert write_cot_file(file, asked, samples, recipe) == 3
    rows = read_cot_rows(file)
    assert [(row.sample_id, row.response) for row in rows] == [
        (sample.sample_id, sample.response) for sample in (samples[0], samples[1], samples[3])
    ]
    first, _, without_video = rows
    text = ChatPart("text", question_text(asked[0].sample))
    assert [message.role for message in first.prompt] == ["user"]
    assert first.prompt[0].content == (
        ChatPart("video", "videos/EpicKitchens/clip 7.mp4"),
        ChatPart("image", "images/EpicKitchens/7.png"),
        text,
    )
    assert [part.type for part in without_video.prompt[0].content] == ["image", "text"]
    for letter, option in zip("ABCD", asked[0].sample.options, strict=True):
        assert f"{letter}. {option}\n" in text.value  # the options that were drawn, in their order


def test_rows_carry_their_own_fields_and_where_they_come_from(recipe) -> None:
    asked = load_asked(recipe)
    write_cot_file(recipe.output_dir / COT_FILE, asked, judged(asked, recipe), recipe)
    lines = [json.loads(line) for line in (recipe.output_dir / COT_FILE).read_text("utf-8").splitlines()]
    source = json.loads((recipe.data.root / "annotations" / "training_6k.jsonl").read_text("utf-8").splitlines()[0])
    assert source.items() <= lines[0].items()
    assert lines[0]["options"][("ABCD").index(lines[0]["golden_choice_idx"])] == "boil kettle"
    assert lines[1]["provenance"] == {
        "teacher": "teacher",
        "engine": "native",
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": 256,
        "seed": 0,
        "sample_index": 1,
        "rule": "official",
    }


def test_the_file_does_not_depend_on_the_order_of_the_answers(recipe) -> None:
    asked = load_asked(recipe)
    file = recipe.output_dir / COT_FILE
    samples = judged(asked, recipe)
    write_cot_file(file, asked, samples, recipe)
    before = file.read_bytes()
    moved = [samples[2], samples[3], samples[0], samples[1], samples[4], samples[5]]
    write_cot_file(file, asked, [replace(sample, seconds=9.0) for sample in moved], recipe)
    assert file.read_bytes() == before


def test_nothing_kept_leaves_no_file_of_an_earlier_filter(recipe) -> None:
    asked = load_asked(recipe)
    file = recipe.output_dir / COT_FILE
    write_cot_file(file, asked, judged(asked, recipe), recipe)
    assert write_cot_file(file, asked, [], recipe) == 0
    assert not file.exists()


def test_sources_without_clips_of_their_own_are_refused(recipe) -> None:
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": "egoplan"})})
    with pytest.raises(ConfigError, match="ranges of longer videos"):
        load_asked(other)


def test_report_counts_by_hand(recipe) -> None:
    asked = load_asked(recipe)
    report = report_of([question.sample for question in asked], judged(asked, recipe), recipe)
    assert (report.questions, report.samples, report.answers, report.kept, report.questions_kept) == (3, 2, 6, 3, 2)
    assert report.verdicts["kept"] == 3
    assert report.verdicts["wrong"] == 3
    assert sum(report.verdicts.values()) == 6
    assert report.kept_per_question == (1, 1, 1)
    assert report.right_per_question == (1, 1, 1)
    assert (report.seconds, report.answers_per_second) == (3.0, 2.0)
    assert (report.tokens, report.tokens_per_second) == (60, 20.0)
    assert report.hardest == (Hard("5", "make tea", "boil kettle", 0, "wrong"),)


def test_the_hardest_come_first_and_unknown_lengths_stay_unknown(recipe) -> None:
    asked = load_asked(recipe)
    strict = recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"min_words": 9})})
    samples = [replace(s, completion_tokens=None if s.sample_index else 10) for s in judged(asked, strict)]
    report = report_of([question.sample for question in asked], samples, strict)
    assert (report.kept, report.tokens, report.tokens_per_second) == (0, None, None)
    assert [(hard.sample_id, hard.right, hard.mostly) for hard in report.hardest] == [
        ("5", 0, "wrong"),
        ("3", 1, "wrong"),
        ("7", 2, "short"),
    ]
    assert report.right_per_question == (1, 1, 1)
