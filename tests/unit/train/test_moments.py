"""Moments and averaged weights on disk: bit for bit, by name, without pickles; damage is one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sbr.algo.algorithm import AverageSchedule
from sbr.errors import CheckpointError
from sbr.train.ema import AverageWeights
from sbr.train.moments import averages, get_moments, load_tensors, save_tensors, set_moments


def make_model(width: int = 4) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.Linear(4, 2))
    model[1].bias.requires_grad_(False)
    return model


def make_optimizer(model: torch.nn.Module, steps: int) -> torch.optim.Optimizer:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW([{"params": trained[1:]}, {"params": trained[:1]}], lr=0.1)
    for number in range(steps):
        for weight in trained:
            weight.grad = torch.full_like(weight, number - 0.3)
        optimizer.step()
    return optimizer


def test_moments_come_back_to_their_weights_and_the_steps_go_on(tmp_path: Path) -> None:
    model, again = make_model(), make_model()
    optimizer = make_optimizer(model, 3)
    save_tensors(tmp_path / "tensors", get_moments(model, optimizer))
    with torch.no_grad():
        for weight, other in zip(model.parameters(), again.parameters(), strict=True):
            other.copy_(weight)
    fresh = make_optimizer(again, 0)
    tensors = get_moments(again, fresh)
    assert not any(tensor.any() for tensor in tensors.values())
    load_tensors(tmp_path / "tensors", tensors)
    set_moments(again, fresh, tensors)
    for a, b in ((model, optimizer), (again, fresh)):
        for weight in a.parameters():
            weight.grad = torch.ones_like(weight) if weight.requires_grad else None
        b.step()
    for weight, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)
    (file,) = (tmp_path / "tensors").iterdir()
    assert set(load_file(file)) == {
        f"{name}.{kind}" for name in ("0.weight", "0.bias", "1.weight") for kind in ("step", "exp_avg", "exp_avg_sq")
    }


def test_averages_come_back_bit_for_bit(tmp_path: Path) -> None:
    model = make_model()
    average = AverageWeights(model, AverageSchedule(decay=0.7, every=1))
    expected = {name: tensor.clone() for name, tensor in average.averages.items()}
    save_tensors(tmp_path / "tensors", averages(average))
    for tensor in average.averages.values():
        tensor.zero_()
    load_tensors(tmp_path / "tensors", averages(average))
    for name, tensor in average.averages.items():
        assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbage", "other", "absent"])
def test_what_cannot_be_loaded_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "checkpoint-4" / "training_state" / "tensors"
    model = make_model(5 if damage == "other" else 4)
    if damage != "gone":
        save_tensors(folder, get_moments(model, make_optimizer(model, 1)))
        (file,) = folder.iterdir()
        match damage:
            case "empty":
                file.write_bytes(b"")
            case "cut":
                file.write_bytes(file.read_bytes()[:-7])
            case "garbage":
                file.write_bytes(b"\xff" * 300)
            case "absent":
                file.unlink()
    model = make_model()
    with pytest.raises(CheckpointError, match=r"tensors is damaged or of another model .*remove .*checkpoint-4 and"):
        load_tensors(folder, get_moments(model, make_optimizer(model, 0)))
