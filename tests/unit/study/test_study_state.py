"""What is there of a run, what it was made from, and which runs a study hands on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import ARMS, TEACHERS, write

from sbr.errors import CheckpointError, ConfigError, DataError
from sbr.resume.folder import start_folder
from sbr.resume.lock import is_held, locked
from sbr.study.recipes import Study, read_study
from sbr.study.results import finished_runs
from sbr.study.state import (
    Note,
    base_fingerprints,
    check_job,
    inputs_of,
    note_folder,
    read_note,
    recipe_fingerprint,
    state_of,
    write_note,
)

SFT = "mini/sft/seed_0"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def study(tmp_path: Path, base: Path) -> Study:
    return read_study(write(tmp_path, TEACHERS, ARMS, bases={"mini": str(base)}))


def finish(study: Study, name: str, result: str, **files: str) -> None:
    """The folder of a finished run, as far as a study looks at it."""
    job = study.graph.jobs[name]
    recipe = study.recipe(job)
    start_folder(recipe.output_dir, recipe, {})
    for file, content in {**files, result: "{}"}.items():
        (recipe.output_dir / file.replace("__", ".")).write_text(content)
    inputs = inputs_of(study, job, base_fingerprints(study))
    write_note(study, name, Note("finished", recipe_fingerprint(recipe), inputs))


def state(study: Study, name: str) -> str:
    return state_of(study, study.graph.jobs[name])


def check(study: Study, name: str) -> None:
    check_job(study, study.graph.jobs[name], base_fingerprints(study))


def test_states(study: Study) -> None:
    assert state(study, SFT) == "missing"
    study.folder(SFT).mkdir(parents=True)
    assert state(study, SFT) == "missing", "an empty folder is nothing"
    (study.folder(SFT) / "recipe.json").write_text("{}")
    assert state(study, SFT) == "begun", "by hand, or killed before its note"
    with locked(note_folder(study, SFT)):
        assert state(study, SFT) == "running"
    write_note(study, SFT, Note("failed", "", {}, "out of memory"))
    assert state(study, SFT) == "failed"
    finish(study, SFT, "final", metrics__jsonl="{}")
    assert state(study, SFT) == "finished"
    (study.folder(SFT) / "final").unlink()
    assert state(study, SFT) == "begun", "its model is gone"


def test_a_finished_run_of_another_recipe_is_looked_at_again(study: Study, tmp_path: Path) -> None:
    finish(study, "mini/teacher", "final", metrics__jsonl="{}")
    check(study, "mini/teacher")
    other = {**TEACHERS, "teacher": {**TEACHERS["teacher"], "set": {"algo.beta": 0.5}}}
    changed = read_study(write(tmp_path, other, ARMS, bases={"mini": study.config.bases["mini"]}))
    assert state(changed, "mini/teacher") == "begun"
    with pytest.raises(CheckpointError, match=r"study.toml: mini/teacher: [\s\S]*algo.beta: 0.0 then, 0.5 now"):
        check(changed, "mini/teacher")


@pytest.mark.parametrize(("name", "key"), [("mini/self", "top_p"), ("mini/base/eval", "max_new_tokens")])
def test_answers_of_another_recipe_are_refused(study: Study, tmp_path: Path, name: str, key: str) -> None:
    finish(study, name, "report.json" if name == "mini/self" else "summary.json")
    check(study, name)
    section = "distill" if name == "mini/self" else "eval"
    stages = {**TEACHERS, "self": {**TEACHERS["self"], "set": {"distill.top_p": 0.5}}}
    evaluation = {"recipe": "recipes/mini/eval.toml", "set": {"eval.max_new_tokens": 1}}
    keys = {"bases": {"mini": study.config.bases["mini"]}, "eval": evaluation}
    with pytest.raises(ConfigError, match=rf"{name}: [\s\S]*{section}.{key}"):
        check(read_study(write(tmp_path, stages, ARMS, **keys)), name)


def test_other_weights_of_the_base_are_refused(study: Study, base: Path) -> None:
    finish(study, "mini/teacher", "final", metrics__jsonl="{}")
    (base / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ConfigError, match=r"mini/teacher was made from other files[\s\S]*the base mini has changed"):
        check(study, "mini/teacher")


def test_another_training_or_distillation_before_it_is_refused(study: Study) -> None:
    finish(study, "mini/self", "report.json", training_with_cot__jsonl="rows")
    finish(study, SFT, "final", metrics__jsonl="one")
    finish(study, "mini/sft_grpo/seed_0", "final", metrics__jsonl="{}")
    for name in (SFT, "mini/sft_grpo/seed_0"):
        check(study, name)
    (study.folder("mini/self") / "training_with_cot.jsonl").write_text("other rows")
    (study.folder(SFT) / "metrics.jsonl").write_text("two")
    with pytest.raises(ConfigError, match="the rows of mini/self has changed"):
        check(study, SFT)
    with pytest.raises(ConfigError, match=f"the training {SFT} has changed"):
        check(study, "mini/sft_grpo/seed_0")
    (study.folder(SFT) / "metrics.jsonl").unlink()
    check(study, "mini/sft_grpo/seed_0")  # what is gone cannot be compared


def test_a_damaged_note_is_named(study: Study) -> None:
    file = note_folder(study, SFT) / "note.json"
    file.parent.mkdir(parents=True)
    for content in ("", "[]", '{"state": "finished"}', json.dumps({"state": "odd", "recipe": "", "inputs": {}})):
        file.write_text(content)
        with pytest.raises(DataError, match=rf"{file} is damaged"):
            read_note(study, SFT)


def test_a_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no_model does not exist"):
        base_fingerprints(read_study(write(tmp_path, TEACHERS, ARMS, bases={"a": str(tmp_path / "no_model")})))


def test_finished_evaluations_are_handed_on_with_what_led_to_them(study: Study) -> None:
    assert finished_runs(study) == ()
    for name in ("mini/base/eval", "mini/sft_grpo/seed_1/eval"):
        finish(study, name, "summary.json")
    base_0, base_1, both = finished_runs(study)
    assert (base_0.arm, base_0.seed, base_1.seed) == ("base", 0, 1)
    assert base_0.evaluation == base_1.evaluation == study.folder("mini/base/eval")
    assert base_0.stages == ()
    assert (both.arm, both.base, both.seed) == ("SFT, then GRPO", "mini", 1)
    assert both.stages == tuple(map(study.folder, ("mini/self", "mini/sft/seed_1", "mini/sft_grpo/seed_1")))


def test_a_lock_tells_whether_it_is_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "nowhere")
    with locked(tmp_path / "held"):
        assert is_held(tmp_path / "held")
        assert is_held(tmp_path / "held")
    (tmp_path / ".lock").write_text("{}")  # of a process that was killed
    assert not is_held(tmp_path)
