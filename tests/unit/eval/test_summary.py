"""Figures of records, by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.config.asking import EvalConfig
from sbr.config.inputs import DataConfig, ModelConfig
from sbr.config.recipes import EvalRecipe
from sbr.errors import DataError
from sbr.eval.stats import Interval, clustered_wilson_interval, wilson_interval
from sbr.eval.summary import OVERALL, levels_of, read_summary, slice_of, summarize, write_summary
from sbr.types import EvalRecord

GOOD = "<think>the tap is open</think><answer>A</answer>"


def record(sample_id: str, correct: bool, level: str = "L1", domain: str = "Daily life", index: int = 0) -> EvalRecord:
    letter = "A" if correct else "B"
    return EvalRecord(
        sample_id=sample_id,
        level=level,
        domain=domain,
        sample_index=index,
        prompt="p",
        options=("open tap", "close tap"),
        response=GOOD,
        extracted=letter,
        gold="A",
        correct=correct,
        rule="official",
        completion_tokens=10,
        truncated=False,
        seconds=0.5,
    )


def recipe(**values) -> EvalRecipe:
    return EvalRecipe(
        model=ModelConfig(path="m"), data=DataConfig(root=Path("d")), output_dir=Path("o"), eval=EvalConfig(**values)
    )


def test_slice_of_greedy_answers():
    records = [
        record("1", True),
        replace(record("2", False), truncated=True, response="I see", completion_tokens=30),
        replace(record("3", True), response="<think>A</think><answer>A</answer>", completion_tokens=5),
        replace(record("4", True), response="<answer>A</answer>", completion_tokens=3),
    ]
    figures = slice_of("x", records)
    assert (figures.questions, figures.samples, figures.correct, figures.accuracy) == (4, 1, 3, 0.75)
    assert figures.interval == wilson_interval(3, 4)
    assert figures.over_samples.mean == 0.75
    assert figures.over_samples.sd is None
    assert (figures.truncated_rate, figures.format_rate, figures.echo_rate) == (0.25, 0.5, 0.5)
    assert figures.mean_completion_tokens == (10 + 30 + 5 + 3) / 4


def test_slice_of_several_samples():
    # Question 1: right, wrong. Question 2: right, right. In any order of lines.
    records = [record("2", True, index=1), record("1", True), record("1", False, index=1), record("2", True)]
    figures = slice_of("x", records)
    assert (figures.questions, figures.samples, figures.correct, figures.accuracy) == (2, 2, 3, 0.75)
    assert figures.over_samples.mean == 0.75  # samples: 2/2 and 1/2
    assert figures.over_samples.sd == pytest.approx(0.5 / 2**0.5)
    assert figures.interval == clustered_wilson_interval([1.0, 0.5], 2)


def test_slice_refuses_questions_with_missing_samples():
    with pytest.raises(DataError, match=r"question 2 of L1 has the samples \[1\], expected 0 to 1"):
        slice_of("x", [record("1", True), record("1", True, index=1), record("2", True, index=1)])
    with pytest.raises(DataError, match="nothing was asked"):
        slice_of("x", [])


def test_summary_has_levels_in_the_recipes_order_and_domains_in_the_alphabets():
    records = [
        record("1", True, "L3", "Work"),
        record("2", False, "L3", "Hobbies"),
        record("3", True, "L3", "Work"),
        record("1", False, "L1"),
    ]
    summary = summarize(records, recipe(levels=("L3", "L1"), seed=4, max_new_tokens=64))
    assert [level.level for level in summary.levels] == ["L3", "L1"]
    overall, domains = summary.levels[0].overall, summary.levels[0].domains
    assert (overall.name, overall.questions, overall.correct) == (OVERALL, 3, 2)
    assert [(part.name, part.questions, part.correct) for part in domains] == [("Hobbies", 1, 0), ("Work", 2, 2)]
    assert (summary.model, summary.protocol, summary.rule, summary.samples) == ("m", "greedy", "official", 1)
    assert (summary.seed, summary.max_new_tokens, summary.seconds) == (4, 64, 2.0)


def test_scenarios_are_counted_where_they_are_named():
    records = [record(str(i), i % 3 == 0, "L3", "Work") for i in range(5)]
    records = [replace(r, scenario=name) for r, name in zip(records, ("tea", "bike", "tea", None, "bike"), strict=True)]
    levels = levels_of([*records, record("1", True, "L1")])
    assert [(level.level, level.overall.questions) for level in levels] == [("L1", 1), ("L3", 5)]
    assert levels[0].scenarios == ()
    assert [(s.name, s.questions, s.correct) for s in levels[1].scenarios] == [("bike", 2, 0), ("tea", 2, 1)]
    assert summarize(records, recipe(levels=("L3",))).levels == levels[1:]
    with pytest.raises(DataError, match="nothing was asked"):
        levels_of([])


def test_groups_are_cut_by_name_in_natural_order():
    durations = ("(900,3600]", "(8,15]", "(180,600]", "(15,60]", "(8,15]")
    records = [
        replace(record(str(i), i % 2 == 0, "val"), groups=(("duration", part), ("category", "S2E")))
        for i, part in enumerate(durations)
    ]
    (level,) = levels_of(records)
    assert [grouping.name for grouping in level.groups] == ["duration", "category"]
    figures = [(part.name, part.questions, part.correct) for part in level.groups[0].parts]
    assert figures == [("(8,15]", 2, 1), ("(15,60]", 1, 0), ("(180,600]", 1, 1), ("(900,3600]", 1, 1)]
    assert level.groups[1].parts == (replace(level.overall, name="S2E"),)


def test_summaries_older_than_the_scenarios_are_read(tmp_path):
    summary = summarize([record("1", True)], recipe(levels=("L1",)))
    write_summary(summary, tmp_path / "summary.json")
    values = json.loads((tmp_path / "summary.json").read_text())
    for key in ("scenarios", "groups", "letters", "rotations"):
        del values["levels"][0][key]
    del values["control"], values["shuffle_options"]
    (tmp_path / "summary.json").write_text(json.dumps(values))
    assert read_summary(tmp_path / "summary.json") == replace(
        summary, levels=(replace(summary.levels[0], letters=None),)
    )


def test_summary_refuses_a_level_without_records():
    with pytest.raises(DataError, match="no records"):
        summarize([record("1", True)], recipe(levels=("L1", "L2")))


def test_summary_file_round_trip(tmp_path):
    summary = summarize([record("1", True), record("2", False)], recipe(levels=("L1",)))
    write_summary(summary, tmp_path / "summary.json")
    assert read_summary(tmp_path / "summary.json") == summary
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    assert isinstance(read_summary(tmp_path / "summary.json").levels[0].overall.interval, Interval)


def test_reading_what_is_no_summary(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_summary(tmp_path / "summary.json")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(DataError, match="is not a summary"):
        read_summary(tmp_path / "summary.json")
