"""Checkpoints: complete or not there, never of broken weights; damage and full disks are one message."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.errors import CheckpointError, SbrError
from sbr.train import checkpoint
from sbr.train.checkpoint import restore, save_checkpoint, save_final
from sbr.train.trainer import Policy, Trainer


class Model(torch.nn.Linear):
    """As much of a transformers model as saving needs."""

    def save_pretrained(self, folder: Path, state_dict: None) -> None:
        torch.save(self.state_dict(), folder / "model.pt")


class Processor:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


def make_trainer(seed: int = 0) -> Trainer:
    torch.manual_seed(seed)
    model: Any = Model(4, 2)
    policy = Policy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=9)
    trainer = Trainer(Accelerator(cpu=True), policy, None, Processor(), optimizer, schedule)
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
    return trainer


@pytest.fixture
def recipe(tmp_path: Path) -> GrpoRecipe:
    values = {"model": {"path": "m", "dtype": "float32"}, "data": {"root": "d"}, "output_dir": tmp_path / "run"}
    (tmp_path / "run").mkdir()
    return validate(GrpoRecipe, values, "test")


def names(recipe: GrpoRecipe) -> list[str]:
    return sorted(path.name for path in recipe.output_dir.iterdir())


def test_optimizer_schedule_and_random_state_come_back(recipe):
    trainer = make_trainer()
    save_checkpoint(recipe, 1, trainer)
    expected = torch.rand(3)  # the next numbers
    other = make_trainer(seed=9)
    restore(recipe, recipe.output_dir / "checkpoint-1", other)
    assert torch.equal(torch.rand(3), expected)
    assert other.schedule.state_dict() == trainer.schedule.state_dict()
    moments, others = (t.optimizer.state_dict()["state"][0]["exp_avg"] for t in (trainer, other))
    assert torch.equal(moments, others)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(recipe, bad):
    trainer = make_trainer()
    save_checkpoint(recipe, 1, trainer)
    with torch.no_grad():
        trainer.model.get_parameter("weight")[0, 0] = bad
    with pytest.raises(CheckpointError, match=r"after step 2 1 weights are not finite \(weight, .*nothing was saved"):
        save_checkpoint(recipe, 2, trainer)
    assert names(recipe) == ["checkpoint-1"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),  # torch, of a full disk
        checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_leaves_the_checkpoint_before_and_no_draft(recipe, monkeypatch, error):
    trainer = make_trainer()
    save_checkpoint(recipe, 1, trainer)
    save_final(recipe, 2, trainer)

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(Processor, "save_pretrained", full)
    with pytest.raises(CheckpointError, match=r"^checkpoint-2 could not be written to .*make room"):
        save_checkpoint(recipe, 2, trainer)
    with pytest.raises(CheckpointError, match=r"^final could not be written to"):
        save_final(recipe, 2, trainer)
    assert names(recipe) == ["checkpoint-1", "final"]
    restore(recipe, recipe.output_dir / "checkpoint-1", make_trainer())


def test_a_new_final_model_takes_the_place_of_the_old_one(recipe):
    save_final(recipe, 2, make_trainer(seed=0))
    first = torch.load(recipe.output_dir / "final" / "model.pt")
    save_final(recipe, 2, make_trainer(seed=1))
    assert not torch.equal(torch.load(recipe.output_dir / "final" / "model.pt")["weight"], first["weight"])
    assert names(recipe) == ["final"]


@pytest.mark.parametrize("content", [{}, [], {"state": {}}, {"param_groups": 3, "state": None}, None])
@pytest.mark.parametrize("name", ["training.pt", "rng_0.pt"])
def test_a_damaged_training_state_is_named(recipe, name, content):
    train = {"optimizer": "adamw_8bit" if name == "training.pt" else "adamw"}
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})
    save_checkpoint(recipe, 1, make_trainer())
    file = recipe.output_dir / "checkpoint-1" / "training_state" / name
    if content is None:
        file.unlink()
    else:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"checkpoint-1/training_state is damaged .*remove .*/checkpoint-1 and"):
        restore(recipe, recipe.output_dir / "checkpoint-1", make_trainer())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "expected an object"),
        ("{", "is damaged"),
        ('{"step": 1, "processes": 2}', "has no 'schedule'.*remove .*checkpoint-1 and"),
        ("{}", "has no 'processes'"),
        ('{"step": 1, "processes": 1, "schedule": 3}', "training_state is damaged"),
    ],
)
def test_a_strange_state_file_is_refused(recipe, content, words):
    save_checkpoint(recipe, 1, make_trainer())
    (recipe.output_dir / "checkpoint-1" / "training_state" / "state.json").write_text(content)
    with pytest.raises(SbrError, match=words):
        restore(recipe, recipe.output_dir / "checkpoint-1", make_trainer())


def test_every_checkpoint_has_a_card_and_what_people_wrote_stays(recipe, caplog):
    trainer = make_trainer()
    (recipe.output_dir / "inputs.json").write_text('{"training_6k.jsonl": "ab12"}')
    lines = ['{"step": 1, "epoch": 0.5, "reward_mean": 0.25}\n', '{"step": 2, "epoch": 1.0, "reward_mean": 0.5}\n']
    (recipe.output_dir / "metrics.jsonl").write_text("".join(lines))
    save_checkpoint(recipe, 1, trainer)
    text = (recipe.output_dir / "checkpoint-1" / "README.md").read_text("utf-8")
    assert "| steps | 1, each" in text and "| reward | 0.25 |" in text and "`ab12`" in text
    save_final(recipe, 2, trainer)
    card = recipe.output_dir / "final" / "README.md"
    assert "| reward | 0.375 |" in card.read_text("utf-8")
    card.write_text(card.read_text("utf-8") + "Mine.\n", "utf-8")
    save_final(recipe, 2, trainer)
    assert card.read_text("utf-8").endswith("\nMine.\n")
    broken = card.read_text("utf-8").replace("<!-- /sbr:results -->", "")
    card.write_text(broken, "utf-8")
    save_final(recipe, 2, trainer)
    assert (recipe.output_dir / "final" / "README.old.md").read_text("utf-8") == broken
    save_final(recipe, 2, trainer)
    assert (recipe.output_dir / "final" / "README.old.md").read_text("utf-8") == broken
    assert "do not pair up" in caplog.text and "Mine." not in card.read_text("utf-8")
