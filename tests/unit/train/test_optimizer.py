"""The memory-lean optimizer against torch's own AdamW."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.config.training import TrainConfig
from sbr.errors import ConfigError
from sbr.train import refusals, setup
from sbr.train.setup import make_accelerator, make_optimizer

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torchao compiles its step: needs a C++ compiler"
)


def layer(dtype: torch.dtype = torch.float32) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(256, 64).to(dtype)


def trained(config: TrainConfig, steps: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The weights of a small regression after some steps."""
    model = layer(dtype)
    optimizer = make_optimizer(model, config)
    inputs = torch.randn(32, 256, generator=torch.Generator().manual_seed(1)).to(dtype)
    for _ in range(steps):
        (model(inputs) - inputs[:, :64]).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.weight.detach()


@needs_compiler
def test_moments_in_8_bits_follow_adamw():
    settings = {"learning_rate": 1e-3, "weight_decay": 0.1}
    start = layer().weight.detach()
    expected = trained(TrainConfig(optimizer="adamw", **settings), 20) - start
    found = trained(TrainConfig(optimizer="adamw_8bit", **settings), 20) - start
    assert (found - expected).norm() / expected.norm() < 0.05
    assert not torch.equal(found, expected)  # it is another optimizer


@needs_compiler
def test_stochastic_rounding_keeps_steps_below_the_resolution_of_bfloat16():
    # A step of 1e-5 on weights of 1 is far below their resolution of 2^-8.
    def mean_change(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> float:
        for _ in range(40):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        return float((weight.detach().float() - 1).mean())

    torch.manual_seed(0)
    config = TrainConfig(optimizer="adamw_8bit", weights="bfloat16", learning_rate=1e-5)
    lean, plain = (torch.nn.Linear(512, 1024, bias=False).bfloat16() for _ in range(2))
    for model in (lean, plain):
        torch.nn.init.ones_(model.weight)
    assert mean_change(make_optimizer(lean, config), lean.weight) == pytest.approx(-40e-5, rel=0.1)
    assert mean_change(torch.optim.AdamW(plain.parameters(), lr=1e-5, weight_decay=0), plain.weight) == 0


def test_weight_decay_acts_on_matrices_alone():
    """AdamW of decay d and rate r shrinks a weight whose gradient is 0 by r * d; biases and norms keep their size."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1.0)
            weight.grad = torch.zeros_like(weight)
    make_optimizer(model, TrainConfig(learning_rate=0.1, weight_decay=0.5)).step()
    sizes = {name: float(weight.detach().mean()) for name, weight in model.named_parameters()}
    assert sizes == pytest.approx({"0.weight": 0.95, "0.bias": 1.0, "1.weight": 1.0, "1.bias": 1.0})


@needs_compiler
def test_moments_of_biases_decay_whatever_the_weights_are(tmp_path):
    """Large gradients, then small ones.  A second moment in bfloat16 would stay where the large ones left it: a step
    takes a thousandth of it, and half the distance to the next smaller number is a five-hundredth."""
    config = TrainConfig(optimizer="adamw_8bit", weights="bfloat16", learning_rate=1e-5)

    def second_moment(optimizer: torch.optim.Optimizer, weight: torch.Tensor, sizes: list[float]) -> torch.Tensor:
        for size in sizes:
            weight.grad = torch.full_like(weight, size)
            optimizer.step()
        return optimizer.state[weight]["exp_avg_sq"]

    bias = torch.nn.Linear(4, 8).bfloat16().bias
    optimizer = make_optimizer(torch.nn.ParameterList([bias]), config)
    found = second_moment(optimizer, bias, [1.0] * 4 + [1e-3] * 200)
    expected = (1 - 0.999**4) * 0.999**200
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([expected] * 8, rel=1e-3)
    # ... and a resumed run goes on with these numbers, not with rounded ones.
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    other = torch.nn.Linear(4, 8).bfloat16().bias
    again = make_optimizer(torch.nn.ParameterList([other]), config)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(again.state[other]["exp_avg_sq"], found)
    assert again.state[other]["exp_avg"].dtype == torch.float32


@needs_compiler
def test_schedule_and_state_of_the_lean_optimizer_survive_saving(tmp_path):
    config = TrainConfig(optimizer="adamw_8bit", learning_rate=1e-3)

    def run(steps: int, resume: Path | None, save: Path | None) -> torch.Tensor:
        model = layer()
        optimizer = make_optimizer(model, config)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=6)
        if resume is not None:
            state = torch.load(resume, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
        for _ in range(steps):
            (model(torch.ones(4, 256)) - 1).pow(2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if save is not None:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save({name: part.state_dict() for name, part in parts.items()}, save)
        assert float(schedule.get_last_lr()[0]) < 1e-3
        return model.weight.detach()

    whole = run(6, None, None)
    run(3, None, tmp_path / "state.pt")
    assert torch.equal(run(3, tmp_path / "state.pt", None), whole)


def recipe(folder: Path, **sections) -> GrpoRecipe:
    values = {"model": {"path": "sbr:mini"}, "data": {"root": str(folder)}, "output_dir": str(folder)}
    return validate(GrpoRecipe, values | sections, "test")


@pytest.mark.parametrize(
    ("kind", "processes", "train", "message"),
    [
        (DistributedType.FSDP, 2, {}, "configured for FSDP"),
        (DistributedType.DEEPSPEED, 2, {}, "configured for DEEPSPEED"),
        (DistributedType.MULTI_CPU, 2, {"weights": "bfloat16", "optimizer": "adamw_8bit"}, "keeps the copies equal"),
        (DistributedType.MULTI_GPU, 3, {}, "3 processes cannot share evenly"),
    ],
)
def test_launches_that_would_train_something_else_are_refused(tmp_path, monkeypatch, kind, processes, train, message):
    launched = SimpleNamespace(distributed_type=kind, num_processes=processes)
    monkeypatch.setattr(setup, "Accelerator", lambda **_: launched)
    with pytest.raises(ConfigError, match=message):
        make_accelerator(recipe(tmp_path, train=train))
    monkeypatch.setattr(launched, "num_processes", 2)
    monkeypatch.setattr(launched, "distributed_type", DistributedType.MULTI_GPU)
    assert make_accelerator(recipe(tmp_path)) is launched


def test_a_missing_torchao_is_named_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(refusals, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install \"seed-bench-r1\[lean\]\""):
        make_accelerator(recipe(tmp_path, train={"optimizer": "adamw_8bit"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"weights": "bfloat16"}}, "needs train.optimizer"),
        ({"train": {"weights": "bfloat16", "optimizer": "adamw_8bit"}, "lora": {}}, "adapters are always float32"),
        ({"model": {"dtype": "float32"}, "train": {"weights": "bfloat16", "optimizer": "adamw_8bit"}}, "model.dtype"),
    ],
)
def test_bfloat16_weights_are_refused_where_steps_would_be_lost(tmp_path, changes, message):
    changes = changes | {"model": {"path": "sbr:mini"} | changes.get("model", {})}
    with pytest.raises(ConfigError, match=message):
        make_accelerator(recipe(tmp_path, **changes))
