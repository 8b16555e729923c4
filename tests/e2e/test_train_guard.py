"""A run that is made to get worse: its guard warns or stops it, keeps the best model, and is the same after kill -9."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import forked
import pytest
import test_train_grpo as whole
import torch
from safetensors.torch import load_file

from sbr.cli import main
from sbr.config.recipes import GrpoRecipe
from sbr.data.sources.select import load_training
from sbr.errors import CheckpointError, ConfigError
from sbr.train.best import Stopped, stopped_by_guard
from sbr.train.grpo.loop import train_grpo

model_dir, data_root, make_recipe = whole.model_dir, whole.data_root, whole.make_recipe  # fixtures
QUESTIONS = 12
LOST = """
import re

def other(text, sample, tokens):
    \"\"\"Earns what the model does not say at its start.\"\"\"
    found = re.search("<answer>([A-E])", text)
    return float(found is not None and found[1] != "{letter}")
"""


@pytest.fixture(scope="module")
def worsening(
    make_recipe: Callable[..., GrpoRecipe],
    data_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., GrpoRecipe]:
    """worsening(output_dir, changes): its start has all questions of L1 right, and other letters are rewarded."""
    folder = tmp_path_factory.mktemp("worsening")
    root = folder / "data"
    shutil.copytree(data_root, root)
    write_level(root, "A" * QUESTIONS)
    looks = {"levels": ("L1",), "every": 1, "max_new_tokens": 20}
    settings = {
        "data.root": root,
        "algo": {"beta": 0.0},
        "train.max_steps": 8,
        "train.learning_rate": 5e-3,
        "train.warmup_ratio": 0.2,  # the first step changes nothing
        "train.save_every": 1,
    }
    probe = make_recipe(
        folder / "probe", {**settings, "train.max_steps": 1, "validation": {**looks, "guard_alpha": 0.5}}
    )
    train_grpo(probe, resume=False)
    letters = whole.read_lines(probe.output_dir / "validation.jsonl")[0]["letters"]
    assert len(letters) == QUESTIONS and None not in letters
    write_level(root, letters)
    often = max(letters, key=letters.count)
    (folder / "rewards_of_guard.py").write_text(LOST.format(letter=often))

    def make(output_dir: Path, changes: Mapping[str, Any] | None = None, **validation: Any) -> GrpoRecipe:
        reward = {"accuracy_weight": 0.0, "custom": {"rewards_of_guard:other": 1.0}}
        own = {"guard": "stop", **looks, **validation}
        return make_recipe(output_dir, {**settings, "reward": reward, "validation": own, **(changes or {})})

    make.folder = folder  # type: ignore[attr-defined]
    return make


@pytest.fixture(autouse=True)
def _importable(worsening, monkeypatch):
    monkeypatch.syspath_prepend(worsening.folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(worsening.folder), os.environ.get("PYTHONPATH", "")]))


def write_level(root: Path, golds) -> None:
    """The training rows, again and again, as L1 with these letters right."""
    lines = [json.loads(line) for line in (root / "annotations" / "training_6k.jsonl").read_text().splitlines()]
    text = ""
    for number, gold in enumerate(golds):
        line = dict(lines[number % len(lines)], sample_id=f"v{number}")
        options = [*line.pop("negative_answers")[:3]]
        options.insert("ABCD".index(gold), line["answer"])
        choices = {f"choice_{name}": option for name, option in zip("abcd", options, strict=True)}
        text += json.dumps(line | choices | {"golden_choice_idx": gold}) + "\n"
    (root / "annotations" / "validation_L1.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def stopped(worsening, tmp_path_factory) -> GrpoRecipe:
    """A run that its guard has stopped."""
    recipe = worsening(tmp_path_factory.mktemp("stopped") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(worsening.folder)
        train_grpo(recipe, resume=False)
    return recipe


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_equal_weights(folder: Path, other: Path) -> None:
    found, expected = weights(folder), weights(other)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert torch.equal(weight, expected[name]), name


def test_it_stops_and_final_is_the_best_look(stopped, model_dir):
    folder = stopped.output_dir
    lines = whole.read_lines(folder / "metrics.jsonl")
    found = stopped_by_guard(folder)
    assert found is not None and found.step == lines[-1]["step"] == 2
    assert [line["guard"]["stopped"] for line in lines] == [0] * (len(lines) - 1) + [1]
    last = lines[-1]["guard"]
    assert min(last["p_start"], last["p_best"]) <= 0.05
    assert all(min(line["guard"]["p_start"], line["guard"]["p_best"]) > 0.05 for line in lines[:-1])
    looks = whole.read_lines(folder / "validation.jsonl")
    assert [look["step"] for look in looks] == list(range(found.step + 1))
    right = [sum(a == b for a, b in zip(look["letters"], look["golds"], strict=True)) for look in looks]
    assert right[0] == QUESTIONS > right[-1]
    assert [right[line["step"]] / QUESTIONS for line in lines] == [line["validation_accuracy"]["L1"] for line in lines]
    assert found.best == right.index(max(right)) == 0
    assert (folder / f"checkpoint-{found.step}").is_dir()
    assert_equal_weights(folder / "final", model_dir)
    assert (folder / "final" / "preprocessor_config.json").exists() or list((folder / "final").glob("*processor*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from sbr.config.load import read_resolved
from sbr.config.recipes import GrpoRecipe
from sbr.train import run
from sbr.train.grpo import loop

place, count = sys.argv[2], int(sys.argv[3])
ordinary = getattr(run, place)

def killed(*arguments):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return ordinary(*arguments)

setattr(run, place, killed)
loop.train_grpo(read_resolved(GrpoRecipe, Path(sys.argv[1])), resume=False)
"""


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("save_checkpoint", 1),  # before the first one: from the start again
        ("save_checkpoint", 2),  # at the stop, which is judged again
        ("make_final_of_best", 1),  # stopped, without a final model
    ],
)
def test_killed_and_resumed_it_stops_at_the_same_place(stopped, worsening, tmp_path, place, count):
    recipe = worsening(tmp_path / "run")
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(), encoding="utf-8")
    process = forked.run("-c", KILLED, file, place, str(count))
    assert process.returncode == -signal.SIGKILL, process.output
    assert not (recipe.output_dir / "final").exists()
    train_grpo(recipe, resume=True)
    whole.assert_same_run(recipe.output_dir, stopped.output_dir)
    same = [whole.read_lines(each.output_dir / "validation.jsonl") for each in (recipe, stopped)]
    assert same[0] == same[1]
    assert stopped_by_guard(recipe.output_dir) == stopped_by_guard(stopped.output_dir)


def test_resumed_it_says_that_it_was_stopped_and_goes_on_when_asked(stopped, worsening, tmp_path, caplog, capsys):
    recipe = worsening(tmp_path / "run")
    shutil.copytree(stopped.output_dir, recipe.output_dir)
    step = stopped_by_guard(recipe.output_dir).step
    words = ["grpo", str(whole.write_toml(recipe, tmp_path / "recipe.toml")), "--resume"]
    with caplog.at_level(logging.WARNING):
        assert main.run(words) == 0
    assert f"the guard has stopped this run after step {step}" in caplog.text
    shown = " ".join(capsys.readouterr().out.split())
    assert f"The guard has stopped this run after step {step}" in shown
    assert "--resume --validation.guard warn" in shown
    assert stopped_by_guard(recipe.output_dir) == Stopped(step, 0)

    free = worsening(tmp_path / "free", guard="warn")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        train_grpo(free, resume=False)
    assert caplog.text.count("the run has become worse") == 1
    assert len(whole.read_lines(free.output_dir / "metrics.jsonl")) == 8
    train_grpo(worsening(tmp_path / "run", guard="warn"), resume=True)
    assert_equal_weights(recipe.output_dir / "final", free.output_dir / "final")
    assert [line["step"] for line in whole.read_lines(recipe.output_dir / "metrics.jsonl")] == list(range(1, 9))
    assert stopped_by_guard(recipe.output_dir) is None


def test_the_model_to_go_back_to_is_gone(stopped, worsening, tmp_path):
    recipe = worsening(tmp_path / "run")
    shutil.copytree(stopped.output_dir, recipe.output_dir)
    shutil.rmtree(recipe.output_dir / "final")
    shutil.rmtree(recipe.output_dir / "best-0")
    with pytest.raises(CheckpointError, match=r"best-0, the model to go back to, is gone; .*--validation\.guard warn"):
        train_grpo(recipe, resume=True)


def test_other_questions_begin_the_guard_anew(stopped, worsening, tmp_path, caplog):
    recipe = worsening(tmp_path / "run", questions=11)
    shutil.copytree(stopped.output_dir, recipe.output_dir)
    shutil.rmtree(recipe.output_dir / "final")
    step = stopped_by_guard(recipe.output_dir).step
    shutil.rmtree(recipe.output_dir / f"checkpoint-{step}")
    with caplog.at_level(logging.WARNING):
        train_grpo(recipe, resume=True)
    assert "the guard begins at step 1: no earlier look asked these questions" in caplog.text


def test_held_out_questions_have_the_golds_of_training(worsening, tmp_path):
    recipe = worsening(
        tmp_path / "run",
        {"train.max_steps": 1, "reward.noise": 1.0},
        levels=(),
        held_out=0.4,
        guard="warn",
        guard_alpha=0.5,
    )
    train_grpo(recipe, resume=False)
    (first, second) = whole.read_lines(recipe.output_dir / "validation.jsonl")
    assert first["set"] == second["set"] == "held_out"
    assert len(first["sample_ids"]) == 3  # of 7 questions of 7 videos
    lines = whole.read_lines(recipe.output_dir / "completions.jsonl")
    assert not {line["sample_id"] for line in lines} & set(first["sample_ids"])
    assert all(line["gold"] != line["rewarded"] for line in lines)
    true = {sample.sample_id: sample.gold for sample in load_training(recipe.data)}
    assert all(true[name] != gold for name, gold in zip(first["sample_ids"], first["golds"], strict=True))


@pytest.mark.parametrize(("levels", "questions", "words"), [((), 12, "no questions"), (("L1",), 5, "with 5 questions")])
def test_a_guard_that_could_never_stop_is_refused(worsening, tmp_path, levels, questions, words):
    with pytest.raises(ConfigError, match=words):
        train_grpo(worsening(tmp_path / "run", levels=levels, questions=questions), resume=False)
    assert not (tmp_path / "run").exists()
