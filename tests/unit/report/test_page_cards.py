"""What was run, in words."""

from dataclasses import replace

from report_runs import answer, evaluation, sample_of, training

from sbr import __version__
from sbr.report.page.cards import cards_of, lead_of, made_of, recipe_differences
from sbr.report.page.inputs import find_runs

RECORDS = [answer(sample_of(number), "A") for number in range(3)]


def test_a_card_names_the_model_its_training_and_what_differs(tmp_path):
    training(tmp_path / "both", train={"seed": 3}, cold_start={})
    training(tmp_path / "both" / "cold_start", "sft", steps=10)
    training(tmp_path / "grpo")
    folders = [
        evaluation(tmp_path / "base", RECORDS),
        evaluation(tmp_path / "grpo_eval", RECORDS, model=tmp_path / "grpo" / "final"),
        evaluation(tmp_path / "both_eval", RECORDS, model=tmp_path / "both" / "final", max_new_tokens=32),
    ]
    base, grpo, both = cards_of(find_runs(folders))
    assert (base.model, base.training, base.differences, base.questions) == ("sbr:mini", None, (), 3)
    assert grpo.training == "GRPO, 4 steps, seed 0, 0.5 minutes"  # 4 x (6 + 1.5) s
    assert grpo.differences == (("model.path", "sbr:mini", str(tmp_path / "grpo" / "final")),)
    assert both.training == "SFT, 10 steps, then GRPO, 4 steps, seed 3, 1.0 minutes"
    assert ("eval.max_new_tokens", "256", "32") in both.differences
    assert ("training: train.seed", "0", "3") in both.differences
    assert ("training: cold_start", "none", "given") in both.differences


def test_a_checkpoint_counts_the_steps_up_to_it(tmp_path):
    training(tmp_path / "grpo")
    (tmp_path / "grpo" / "checkpoint-2").mkdir()
    run = evaluation(tmp_path / "early", RECORDS, model=tmp_path / "grpo" / "checkpoint-2")
    assert cards_of(find_runs([run]))[0].training == "GRPO, 2 steps, seed 0, 0.2 minutes"


def test_steps_that_are_not_logged_are_said(tmp_path):
    folder = training(tmp_path / "grpo")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join([*lines[:1], *lines[2:]]))
    run = evaluation(tmp_path / "eval", RECORDS, model=folder / "final")
    assert "without 1 steps that are not logged" in (cards_of(find_runs([run]))[0].training or "")


def test_other_algorithms_are_called_by_their_names(tmp_path):
    training(tmp_path / "dapo", algo={"name": "dapo"})
    run = evaluation(tmp_path / "eval", RECORDS, model=tmp_path / "dapo" / "final")
    assert (cards_of(find_runs([run]))[0].training or "").startswith("DAPO, 4 steps")


def test_differences_of_recipes():
    first = {"a": {"x": 1, "y": [1, 2]}, "b": None, "c": 3}
    other = {"a": {"x": 2, "y": [1, 3]}, "b": {"z": {"deep": 4}}, "c": 3}
    assert recipe_differences(first, other, frozenset({"a.x"})) == (
        ("a.y", "1, 2", "1, 3"),
        ("b", "none", "given"),
    )


def test_the_lead_counts_questions_and_says_how_they_were_asked(tmp_path):
    four = [replace(record, level="L2") for record in RECORDS]
    one = find_runs([evaluation(tmp_path / "one", [*RECORDS, *four])])
    expected = "One model was asked 6 questions (3 of L1, 3 of L2) of seed_bench_r1 in /nowhere, greedily."
    assert lead_of(one) == expected
    sampled = [replace(record, sample_index=k) for record in RECORDS for k in (0, 1)]
    folders = [evaluation(tmp_path / name, sampled, protocol="paper", samples=2) for name in ("two", "three")]
    assert lead_of(find_runs(folders)).endswith(
        "the same 3 questions (3 of L1) of seed_bench_r1 in /nowhere, 2 times at temperature 1."
    )


def test_a_page_says_with_what_it_was_made():
    assert f"sbr {__version__}" in made_of()
    assert ", torch " in made_of()
