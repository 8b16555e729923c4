"""Run folders: journals that are cut, checkpoints that count, starts that are refused."""

import json
import shutil
from pathlib import Path

import pytest

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe, SftRecipe
from sbr.errors import CheckpointError, ConfigError, SbrError
from sbr.train import journal, run_folder


def make_recipe(folder: Path, **train) -> GrpoRecipe:
    values = {"model": {"path": "m"}, "data": {"root": "d"}, "output_dir": folder, "train": train}
    return validate(GrpoRecipe, values, "test")


def make_checkpoint(recipe: GrpoRecipe, step: int) -> Path:
    file = recipe.output_dir / f"checkpoint-{step}" / run_folder.STATE
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"step": step, "processes": 1}))
    return file.parents[1]


def test_cut_after_drops_later_steps_and_half_a_line(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "text": "a\u2028b"}, ensure_ascii=False) + "\n" for step in (1, 1, 2, 3)]
    half = '{"step": 4, "text": "é'.encode()[:-1]  # cut inside a character
    file.write_bytes("".join(lines).encode() + half)
    assert journal.steps(file) == [1, 1, 2, 3]
    journal.cut_after(file, 2)
    assert file.read_text(encoding="utf-8") == "".join(lines[:3])
    journal.cut_after(file, 2)
    journal.cut_after(tmp_path / "missing.jsonl", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("line", [b"garbage", b"[]", b"{}", b'{"step": "2"}', b'{"step": 1}', b"\xff\xfe"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl", "validation.jsonl"])
def test_a_journal_damaged_in_the_middle_is_named_with_its_line(tmp_path, name, line):
    recipe = make_recipe(tmp_path)
    run_folder.open_folder(recipe, {})
    make_checkpoint(recipe, 3)
    content = b'{"step": 1}\n{"step": 2}\n' + line + b'\n{"step": 3}\n'
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}:3: .*restore it, or remove this line"):
        run_folder.check_start(recipe, resume=True)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(("kept", "lost", "first"), [((), 4, 1), ((1, 2), 2, 3), ((1, 4), 2, 2)])
def test_lost_lines_of_metrics_are_counted_and_named(tmp_path, caplog, kept, lost, first):
    recipe = make_recipe(tmp_path)
    run_folder.open_folder(recipe, {})
    make_checkpoint(recipe, 4)
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in kept))
    run_folder.check_start(recipe, resume=True)
    assert run_folder.open_folder(recipe, {}) == 4
    assert f"lacks {lost} of the 4 steps that were taken (the first is step {first})" in caplog.text


def test_newest_checkpoint_is_the_highest_complete_one(tmp_path):
    recipe = make_recipe(tmp_path)
    assert run_folder.newest_checkpoint(tmp_path) is None
    for step in (9, 100, 20):
        make_checkpoint(recipe, step)
    (tmp_path / ".checkpoint-300.tmp").mkdir()
    (tmp_path / "checkpoint-mine").mkdir()
    assert [run_folder.step_of(path) for path in run_folder.checkpoints(tmp_path)] == [9, 20, 100]
    assert run_folder.newest_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    (tmp_path / "checkpoint-100" / run_folder.STATE).unlink()  # its steps are not done again without a word
    with pytest.raises(CheckpointError, match=r"checkpoint-100/training_state/state\.json is gone.*from step 20$"):
        run_folder.check_start(recipe, resume=True)


def test_a_new_run_needs_a_folder_without_one(tmp_path):
    recipe = make_recipe(tmp_path / "run")
    run_folder.check_start(recipe, resume=False)
    with pytest.raises(ConfigError, match="holds no run to continue; leave out --resume"):
        run_folder.check_start(recipe, resume=True)
    assert run_folder.open_folder(recipe, {}) == 0
    assert json.loads((tmp_path / "run" / "recipe.json").read_text()) == recipe.model_dump(mode="json")
    with pytest.raises(ConfigError, match="--resume"):
        run_folder.check_start(recipe, resume=False)
    run_folder.check_start(recipe, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        run_folder.check_start(make_recipe(tmp_path / "file"), resume=False)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds notes\.txt but no recipe\.json"):
        run_folder.check_start(make_recipe(tmp_path), resume=False)


def test_lost_checkpoints_are_refused_and_a_run_killed_before_its_first_is_not(tmp_path):
    recipe = make_recipe(tmp_path, save_every=2)
    run_folder.open_folder(recipe, {})
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')  # killed while it saved
    run_folder.check_start(recipe, resume=True)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    with pytest.raises(CheckpointError, match="holds no checkpoint, although 3 steps were taken"):
        run_folder.check_start(recipe, resume=True)


def test_open_folder_cuts_the_journals_to_the_checkpoint_and_clears_leftovers(tmp_path):
    recipe = make_recipe(tmp_path)
    make_checkpoint(recipe, 2)
    for name in ("metrics.jsonl", "completions.jsonl"):
        (tmp_path / name).write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)))
    (tmp_path / ".checkpoint-4.tmp" / "training_state").mkdir(parents=True)
    (tmp_path / ".final.tmp").mkdir()
    assert run_folder.open_folder(recipe, {}) == 2
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (tmp_path / "completions.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_resume_names_every_key_that_differs(tmp_path, has_checkpoint):
    recipe = make_recipe(tmp_path, learning_rate=1e-6, max_steps=10)
    run_folder.open_folder(recipe, {})
    if has_checkpoint:
        make_checkpoint(recipe, 2)
    assert recipe.train.schedule == "linear"
    other = make_recipe(tmp_path, learning_rate=2e-6, max_steps=20, save_every=3, keep_checkpoints=9)
    with pytest.raises(CheckpointError) as caught:
        run_folder.check_start(other, resume=True)
    text = str(caught.value)
    assert "train.learning_rate: 1e-06 then, 2e-06 now" in text
    assert 'train.max_steps: 10 then, 20 now (with train.schedule "linear" every learning rate depends on' in text
    assert "save_every" not in text
    run_folder.check_start(make_recipe(tmp_path, learning_rate=1e-6, max_steps=10, save_every=3), resume=True)


def test_harmless_settings_of_a_cold_start_may_change(tmp_path):
    def with_cold(train: dict[str, int], validation: dict[str, float]) -> GrpoRecipe:
        values = make_recipe(tmp_path).model_dump(mode="json")
        return validate(GrpoRecipe, values | {"cold_start": {"train": train, "validation": validation}}, "test")

    run_folder.open_folder(with_cold({"max_steps": 2}, {}), {})
    harmless = with_cold({"max_steps": 2, "save_every": 3, "keep_checkpoints": 1}, {"every": 5, "batch_size": 2})
    run_folder.check_start(harmless, resume=True)
    with pytest.raises(CheckpointError) as caught:
        run_folder.check_start(with_cold({"max_steps": 3, "save_every": 3}, {"every": 5, "share": 0.1}), resume=True)
    assert "cold_start.train.max_steps: 2 then, 3 now" in str(caught.value)
    assert "cold_start.validation.share: 0.0 then, 0.1 now" in str(caught.value)
    assert "every" not in str(caught.value)


def test_a_constant_schedule_can_be_extended(tmp_path):
    settings = {"schedule": "constant", "learning_rate": 1e-6}
    recipe = make_recipe(tmp_path, max_steps=10, **settings)
    run_folder.open_folder(recipe, {})
    checkpoint = make_checkpoint(recipe, 10)
    longer = make_recipe(tmp_path, max_steps=20, **settings)
    run_folder.check_start(longer, resume=True)
    (tmp_path / "final").mkdir()
    run_folder.check_start(longer, resume=True)
    with pytest.raises(
        CheckpointError, match=r"train\.max_steps: 10 then, 20 now .*warmup_ratio 0\.1 every learning rate"
    ):
        run_folder.check_start(make_recipe(tmp_path, max_steps=20, warmup_ratio=0.1, **settings), resume=True)
    shutil.rmtree(checkpoint)
    with pytest.raises(CheckpointError, match="there is no checkpoint left to go on from"):
        run_folder.check_start(longer, resume=True)
    run_folder.check_start(recipe, resume=True)


def make_sft(root: Path, share: float) -> SftRecipe:
    """A recipe on two annotation files that are there."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for name in ("training_6k.jsonl", "training_with_cot_6k.jsonl"):
        (root / "annotations" / name).write_text("a row\n")
    values = {"model": {"path": "m"}, "data": {"root": root}, "output_dir": root / "run"}
    return validate(SftRecipe, values | {"validation": {"share": share}}, "test")


@pytest.mark.parametrize("kind", ["grpo", "sft", "sft with held-out videos"])
@pytest.mark.parametrize("name", ["training_6k.jsonl", "training_with_cot_6k.jsonl"])
def test_resume_on_a_changed_annotation_file_is_refused_if_it_is_learned_from(tmp_path, kind, name):
    recipe = make_sft(tmp_path, 0.1 if "held" in kind else 0)
    if kind == "grpo":
        recipe = validate(GrpoRecipe, {key: getattr(recipe, key) for key in ("model", "data", "output_dir")}, "test")
    run_folder.open_folder(recipe, run_folder.annotation_files(recipe))
    make_checkpoint(recipe, 2)
    run_folder.check_start(recipe, resume=True)
    file = tmp_path / "annotations" / name
    file.write_text("another row\n")
    used = {"grpo": "training_6k", "sft": "training_with_cot", "sft with held-out videos": "training_"}[kind]
    if not name.startswith(used):
        run_folder.check_start(recipe, resume=True)
        return
    with pytest.raises(CheckpointError, match=rf"{name} \({file}\) has changed\n.*restore them, or start a new run"):
        run_folder.check_start(recipe, resume=True)
    run_folder.open_folder(recipe, run_folder.annotation_files(recipe))
    with pytest.raises(CheckpointError, match="has changed"):  # opening has not made it the truth
        run_folder.check_start(recipe, resume=True)
    if name == "training_6k.jsonl":
        file.unlink()
        with pytest.raises(CheckpointError, match=rf"{name} \({file}\) is gone"):
            run_folder.check_start(recipe, resume=True)
    (recipe.output_dir / "final").mkdir()
    run_folder.check_start(recipe, resume=True)  # a finished run reads no rows any more


@pytest.mark.parametrize("content", [None, "{", "[]"])
@pytest.mark.parametrize("name", ["recipe.json", "inputs.json"])
def test_a_run_without_its_recipe_or_fingerprints_is_refused(tmp_path, name, content):
    recipe = make_sft(tmp_path, 0)
    run_folder.open_folder(recipe, run_folder.annotation_files(recipe))
    make_checkpoint(recipe, 2)
    file = recipe.output_dir / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(SbrError, match=rf"{name} .*restore it, or start a new run"):
        run_folder.check_start(recipe, resume=True)
