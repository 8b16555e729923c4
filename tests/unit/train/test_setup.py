"""What a trainer is made of, and in which order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from sbr.config.load import validate
from sbr.config.recipes import SftRecipe
from sbr.train import setup
from sbr.train.setup import make_trainer


@pytest.fixture
def recipe(tiny_model_dir, tmp_path) -> SftRecipe:
    values = {
        "model": {"path": str(tiny_model_dir), "dtype": "float32"},
        "data": {"root": "d"},
        "output_dir": tmp_path,
        "train": {"schedule": "constant", "warmup_ratio": 0.5, "learning_rate": 1e-3},
    }
    return validate(SftRecipe, values, "test")


def test_a_constant_schedule_warms_up(recipe):
    trainer = make_trainer(recipe, Accelerator(cpu=True), 4, None, None)
    rates = []
    for _ in range(4):
        rates.append(trainer.schedule.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.schedule.step()
    assert rates == pytest.approx([0.0, 0.5e-3, 1e-3, 1e-3])


def test_processes_wait_for_hours_and_join_on_a_cpu(recipe, monkeypatch):
    """The main process may write a large checkpoint alone; torchrun on a CPU needs the word that there is no GPU."""
    seen: dict[str, Any] = {}

    def launched(**arguments: Any) -> Accelerator:
        seen.update(arguments)
        return Accelerator(cpu=True)

    monkeypatch.setattr(setup, "Accelerator", launched)
    setup.make_accelerator(recipe)
    (group,) = seen["kwargs_handlers"]
    assert group.timeout >= timedelta(hours=2)
    assert seen["cpu"] == (not torch.accelerator.is_available())


@pytest.mark.parametrize(
    ("wanted", "mode", "dtype", "weights", "device", "asked"),
    [
        (None, "none", "bfloat16", "float32", "cuda", True),  # rounded in every step otherwise
        (None, "none", "bfloat16", "float32", "cpu", False),
        (None, "none", "bfloat16", "bfloat16", "cuda", False),
        (None, "none", "float32", "float32", "cuda", False),
        (False, "none", "bfloat16", "float32", "cuda", False),
        (True, "none", "float32", "float32", "cpu", True),
        (None, "full", "float32", "float32", "cpu", True),
    ],
)
def test_where_a_twin_is_asked(recipe, wanted, mode, dtype, weights, device, asked):
    model, train = (
        recipe.model.model_copy(update={"dtype": dtype}),
        recipe.train.model_copy(update={"weights": weights}),
    )
    assert setup.asks_twin(wanted, mode, recipe.model_copy(update={"model": model, "train": train}), device) is asked
