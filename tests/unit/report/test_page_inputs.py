"""Folders -> runs: which evaluation is which control's, what is expanded, what is refused."""

from pathlib import Path

import pytest
from report_runs import answer, evaluation, sample_of, training

from sbr.errors import ConfigError, DataError
from sbr.report.page.inputs import find_runs

QUESTIONS = [sample_of(number) for number in range(3)]
RECORDS = [answer(question, "A") for question in QUESTIONS]
BLIND = [answer(question, "B", control="blind") for question in QUESTIONS]


def demo(folder: Path) -> Path:
    """As `sbr demo` leaves it, in another order of names than of stages."""
    training(folder / "grpo_0")
    training(folder / "sft_grpo_0", cold_start={})
    training(folder / "sft_grpo_0" / "cold_start", "sft")
    evaluation(folder / "eval_base", RECORDS)
    evaluation(folder / "eval_grpo_0", RECORDS, model=folder / "grpo_0" / "final")
    evaluation(folder / "eval_sft_0", RECORDS, model=folder / "sft_grpo_0" / "cold_start" / "final")
    evaluation(folder / "eval_both_0", RECORDS, model=folder / "sft_grpo_0" / "final")
    (folder / "data" / "annotations").mkdir(parents=True)
    return folder


def test_a_folder_of_a_demo_stands_for_what_is_in_it_in_the_order_of_its_stages(tmp_path):
    runs = find_runs([demo(tmp_path / "demo")])
    assert [run.name for run in runs.asked] == ["base", "sft_0", "grpo_0", "both_0"]
    assert list(runs.trainings) == ["sft_0", "grpo_0", "both_0"]  # the cold start is the training of sft_0
    assert {name: run.folder.name for name, run in runs.trained.items()} == {
        "sft_0": "cold_start",
        "grpo_0": "grpo_0",
        "both_0": "sft_grpo_0",
    }
    assert runs.controls == {}


def test_what_is_named_stands_in_the_order_in_which_it_is_named(tmp_path):
    folder = demo(tmp_path / "demo")
    runs = find_runs([folder / "eval_both_0", folder], names=["1", "2", "3", "4"])
    assert [(run.name, run.folder.name) for run in runs.asked] == [
        ("1", "eval_both_0"),
        ("2", "eval_base"),
        ("3", "eval_sft_0"),
        ("4", "eval_grpo_0"),
    ]


def test_controls_stand_at_the_evaluation_of_their_model(tmp_path):
    training(tmp_path / "grpo")
    base = evaluation(tmp_path / "base", RECORDS)
    model = tmp_path / "grpo" / "final"
    grpo = evaluation(tmp_path / "eval", RECORDS, model=model)
    blind = evaluation(tmp_path / "blind", BLIND, model=model, control="blind")
    runs = find_runs([base, blind, grpo])
    assert [run.name for run in runs.asked] == ["base", "eval"]
    assert {name: [c.folder for c in found] for name, found in runs.controls.items()} == {"eval": [blind]}


def test_of_two_evaluations_of_a_model_the_nearest_gets_the_control(tmp_path):
    one = evaluation(tmp_path / "one", RECORDS, max_new_tokens=32)
    two = evaluation(tmp_path / "two", RECORDS, max_new_tokens=64)
    control = evaluation(tmp_path / "blind", BLIND, control="blind", max_new_tokens=64)
    assert list(find_runs([one, two, control]).controls) == ["two"]


def test_further_seeds_are_trainings_of_their_own(tmp_path):
    training(tmp_path / "grpo_0")
    more = training(tmp_path / "grpo_1", train={"seed": 1})
    asked = evaluation(tmp_path / "eval", RECORDS, model=tmp_path / "grpo_0" / "final")
    runs = find_runs([asked, more])
    assert list(runs.trainings) == ["eval", "grpo_1"]
    assert list(runs.trained) == ["eval"]


def test_two_evaluations_of_one_training_name_it_once(tmp_path):
    training(tmp_path / "grpo")
    (tmp_path / "grpo" / "checkpoint-2").mkdir()
    early = evaluation(tmp_path / "early", RECORDS, model=tmp_path / "grpo" / "checkpoint-2")
    late = evaluation(tmp_path / "late", RECORDS, model=tmp_path / "grpo" / "final")
    runs = find_runs([early, late])
    assert list(runs.trainings) == ["early"]
    assert list(runs.trained) == ["early", "late"]


def test_other_data_is_taken_for_every_run(tmp_path):
    one, two = (evaluation(tmp_path / name, RECORDS) for name in ("one", "two"))
    runs = find_runs([one, two], data=Path("elsewhere"))
    assert [run.recipe.data.root for run in runs.asked] == [Path("elsewhere")] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: [p / "gone"], "gone does not exist"),
        (lambda p: [evaluation(p / "a", RECORDS) / "records.jsonl"], "records.jsonl is no folder"),
        (lambda p: [p], "holds neither an evaluation nor a training run"),
        (lambda p: [training(p / "grpo")], "there is no evaluation in"),
        (
            lambda p: [evaluation(p / "b", BLIND, control="blind")],
            "give the ordinary evaluation of the same model too",
        ),
        (
            lambda p: [
                evaluation(p / "a", RECORDS),
                evaluation(p / "b", BLIND, model="x/y", control="blind"),
            ],
            "b is a control of the model x/y",
        ),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, make, message):
    with pytest.raises(ConfigError, match=message):
        find_runs(make(tmp_path))


@pytest.mark.parametrize("names", [["one"], ["one", "one"], ["one", "two", "three"]])
def test_names_that_do_not_fit_are_refused(tmp_path, names):
    folders = [evaluation(tmp_path / name, RECORDS) for name in ("a", "b")]
    with pytest.raises(ConfigError, match=r"give 2 different name\(s\)"):
        find_runs(folders, names)


def test_an_unfinished_evaluation_is_refused(tmp_path):
    folder = evaluation(tmp_path / "eval", RECORDS)
    (folder / "summary.json").unlink()
    with pytest.raises(DataError, match=r"holds no summary.json.*run the same `sbr eval` again"):
        find_runs([tmp_path])
