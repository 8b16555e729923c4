"""The guard of a run over its journal: which models are kept, what a resumed run knows, what begins anew."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.errors import CheckpointError, ConfigError
from sbr.train import run_folder
from sbr.train.guarded import Guard, Guarded, guard_of
from sbr.train.validation import Answered, Seen

QUESTIONS = 40
TOTAL = 60
MAIN: Any = SimpleNamespace(accelerator=SimpleNamespace(is_main_process=True))


class Looks:
    """A `Validation` of one level, looked at every 10 steps, without a model."""

    def __init__(self, questions: int = QUESTIONS, rule: str = "official") -> None:
        self.sets = {"L1": range(questions)}
        self.rule = rule

    def due(self, step: int, total: int) -> bool:
        return step % 10 == 0 or step == total

    def answered(self, step: int, name: str, letters) -> Answered:
        ids = tuple(str(number) for number in self.sets[name])
        return Answered(step, name, self.rule, 256, ids, ("A",) * len(ids), tuple(letters))

    def seen(self, step: int, right: int) -> Seen:
        """The first `right` questions are right."""
        count = len(self.sets["L1"])
        return Seen(answered=(self.answered(step, "L1", ["A"] * right + [None] * (count - right)),))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GrpoRecipe:
    monkeypatch.setattr(
        "sbr.train.guarded.save_best", lambda recipe, step, _: (recipe.output_dir / f"best-{step}").mkdir()
    )
    return recipe_of(tmp_path, "stop")


def recipe_of(folder: Path, guard: str) -> GrpoRecipe:
    values = {"model": {"path": "m"}, "data": {"root": "d"}, "output_dir": folder, "validation": {"guard": guard}}
    return validate(GrpoRecipe, values, "test")


def guard_at(recipe: GrpoRecipe, looks: Looks, done: int = 0) -> Guard:
    """The guard of a run that goes on after `done` steps."""
    guarded: Any = Guarded(recipe, recipe.validation, looks)  # pyright: ignore[reportArgumentType]
    return Guard(guarded, done, TOTAL)


def kept(recipe: GrpoRecipe) -> list[str]:
    return sorted(path.name for path in recipe.output_dir.glob("best-*"))


def checkpoint(recipe: GrpoRecipe, step: int) -> None:
    file = recipe.output_dir / f"checkpoint-{step}" / run_folder.STATE
    file.parent.mkdir(parents=True)
    file.write_text("{}")


def test_the_best_model_is_kept_now_and_as_of_every_checkpoint(recipe):
    looks = Looks()
    guard = guard_at(recipe, looks)
    assert guard.needs_look
    guard.begin(0, looks.seen(0, 20), MAIN)
    assert not guard.needs_look
    guard.take(10, looks.seen(10, 24), MAIN)
    assert kept(recipe) == ["best-0", "best-10"]  # without a checkpoint a killed run begins again
    checkpoint(recipe, 15)
    guard.take(20, looks.seen(20, 26), MAIN)
    assert kept(recipe) == ["best-10", "best-20"]
    figures = guard.take(30, looks.seen(30, 26), MAIN)  # not better
    assert (figures["best_step"], figures["stopped"], kept(recipe)) == (20, 0, ["best-10", "best-20"])
    checkpoint(recipe, 35)
    guard.take(40, looks.seen(40, 28), MAIN)
    assert kept(recipe) == ["best-10", "best-20", "best-40"]


def test_a_resumed_guard_says_what_the_uninterrupted_one_says(recipe):
    looks, right = Looks(), [20, 26, 25, 18, 10]
    whole = guard_at(recipe, looks)
    whole.begin(0, looks.seen(0, right[0]), MAIN)
    figures = {step: whole.take(step, looks.seen(step, right[step // 10]), MAIN) for step in (10, 20, 30)}
    assert figures[20]["stopped"] == 0 and figures[30]["stopped"] == 0 and not whole.stopped
    resumed = guard_at(recipe, looks, 30)
    assert not resumed.needs_look
    after = [guard.take(40, looks.seen(40, right[4]), MAIN) for guard in (whole, resumed)]
    assert after[0] == after[1]
    assert after[0]["stopped"] == 1 and whole.stopped and resumed.stopped
    assert after[0]["p_best"] == pytest.approx(6 * 5 * 0.5**16)  # 16 lost, none won, K = 6
    assert after[0]["p_start"] == pytest.approx(2 * 6 * 0.5**10)
    assert after[0]["best_step"] == 10


def test_a_warning_is_given_once_and_nothing_is_kept(recipe, tmp_path, caplog):
    looks, warned = Looks(), recipe_of(tmp_path / "warned", "warn")
    warned.output_dir.mkdir()
    guard = guard_at(warned, looks)
    guard.begin(0, looks.seen(0, 30), MAIN)
    for step in (10, 20):
        assert guard.take(step, looks.seen(step, 5), MAIN)["stopped"] == 0
    assert (
        caplog.text.count("step 10: 5 of 40 validation questions are right, after step 0 30 were (25 lost, 0 won;") == 1
    )
    assert caplog.text.count("has become worse") == 1
    assert kept(warned) == [] and not guard.stopped
    guard_at(warned, looks, 20).take(30, looks.seen(30, 5), MAIN)
    assert caplog.text.count("has become worse") == 1


@pytest.mark.parametrize("other", [Looks(QUESTIONS - 1), Looks(rule="strict")])
def test_other_questions_or_another_rule_begin_anew(recipe, caplog, other):
    looks = Looks()
    guard = guard_at(recipe, looks)
    guard.begin(0, looks.seen(0, 20), MAIN)
    guard.take(10, looks.seen(10, 30), MAIN)
    assert caplog.text == ""
    anew = guard_at(recipe, other, 12)
    assert anew.needs_look
    anew.begin(12, other.seen(12, 5), MAIN)
    assert "the guard begins at step 12: no earlier look asked these questions" in caplog.text
    assert anew.take(20, other.seen(20, 6), MAIN)["best_step"] == 20


def test_a_run_that_kept_no_model_until_now_keeps_the_present_one_and_does_not_stop_for_it(recipe, caplog):
    looks, warned = (
        Looks(),
        recipe.model_copy(update={"validation": recipe.validation.model_copy(update={"guard": "warn"})}),
    )
    guard = guard_at(warned, looks)
    guard.begin(0, looks.seen(0, 30), MAIN)
    guard.take(10, looks.seen(10, 5), MAIN)
    strict = guard_at(recipe, looks, 12)
    assert strict.needs_look
    strict.begin(12, looks.seen(12, 5), MAIN)
    assert "the guard begins at step 12: no model of an earlier look is kept" in caplog.text
    assert kept(recipe) == ["best-12"] and not strict.stopped


@pytest.mark.parametrize(
    ("change", "words"),
    [({"letters": ["A"]}, "differ in length"), ({"golds": None}, "not iterable"), ({"set": None}, "")],
)
def test_a_damaged_record_is_named_with_its_line(recipe, change, words):
    looks = Looks()
    guard_at(recipe, looks).begin(0, looks.seen(0, 20), MAIN)
    file = recipe.output_dir / run_folder.LOOKS
    values = json.loads(file.read_text()) | change
    if values["set"] is None:
        del values["set"]
    file.write_text(file.read_text() + json.dumps(values) + "\n")
    with pytest.raises(CheckpointError, match=rf"validation\.jsonl:2: not a record of a look .*{words}"):
        guard_at(recipe, looks)


@pytest.mark.parametrize(
    ("guard", "questions", "found"),
    [
        ("off", 40, None),
        ("warn", 0, None),
        ("warn", 6, None),
        ("warn", 40, True),
        ("stop", 40, True),
        ("stop", 0, "no questions"),
        ("stop", 6, "with 6 questions no fall is significant"),
    ],
)
def test_what_can_be_guarded(tmp_path, guard, questions, found):
    looks: Any = Looks(questions)
    if questions == 0:
        looks.sets = {}
    recipe = recipe_of(tmp_path, guard)
    if isinstance(found, str):
        with pytest.raises(ConfigError, match=found):
            guard_of(recipe, recipe.validation, looks, TOTAL)
    else:
        assert (guard_of(recipe, recipe.validation, looks, TOTAL) is not None) is (found is True)
