"""benchmarks/cluster.py: what it computes against the collective calls of a planned step, and against samples."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_iter

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.plan import ledger
from sbr.plan.plan import Rates, assumed_of, make_plan
from sbr.plan.stand_in import Cluster

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cluster.py"
GPUS, NODES = 8, 2
GATHER, SCATTER, SUM = "c10d::_allgather_base_", "c10d::_reduce_scatter_base_", "c10d::allreduce_"
TWIN = "_c10d_functional::all_gather_into_tensor"
"""`full_tensor()`, whose argument is a part."""


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster_costs", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["cluster_costs"] = module
    spec.loader.exec_module(module)
    return module


def test_examples(cluster: ModuleType) -> None:
    assert doctest.testmod(cluster).attempted > 0
    assert doctest.testmod(cluster).failed == 0


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> Any:
    (tmp_path / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    values = {
        "model": {"path": str(tmp_path), "dtype": "float32", "gradient_checkpointing": True},
        "data": {"root": "d"},
        "output_dir": "o",
        "frames": {"max_frames": 4, "height": 56, "width": 56},
        "rollout": {"group_size": 4, "max_new_tokens": 12},
        "train": {"prompts_per_step": GPUS},
    }
    return lambda sharding: validate(GrpoRecipe, values | {"train": {**values["train"], "sharding": sharding}}, "test")


def called(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Counter[str], Any]:
    """Bytes of the largest tensor in each collective call of a planned step, added by operation, and the plan."""
    found: Counter[str] = Counter()
    run = ledger._run

    def noted(func: Any, args: Any, kwargs: Any) -> Any:
        name = func.name().partition(".")[0]
        if "c10d" in name:
            tensors = [part for part in tree_iter(args) if isinstance(part, torch.Tensor)]
            found[name] += max(tensor.numel() * tensor.itemsize for tensor in tensors)
        return run(func, args, kwargs)

    monkeypatch.setattr(ledger, "_run", noted)
    plan = make_plan(recipe, Cluster(GPUS, NODES), assumed_of(recipe, 20, 12), Rates(1e12, 1e9))
    return found, plan


@pytest.mark.parametrize("mode", ["hybrid", "full"])
def test_exchanges_are_those_of_the_planned_step(mode, cluster, recipe, monkeypatch) -> None:
    found, plan = called(recipe(mode), monkeypatch)
    nodes = cluster.Nodes(NODES, GPUS // NODES)
    parts = GPUS if mode == "full" else nodes.local
    size = 4 * plan.cost.weights
    by_name = {exchange.name: exchange for exchange in cluster.exchanges(cluster.Model(*[size] * 4), mode, nodes, 1)}
    about = pytest.approx(size, rel=0.01)  # parts are padded
    assert found[TWIN] * parts == about
    assert found[GATHER] / 3 == about
    assert found[SCATTER] == about
    gathered = ("twin, all-gather", "reference, all-gather", "forward, all-gather", "backward, all-gather")
    for name in (*gathered, "gradients, reduce-scatter"):
        assert by_name[name].inside == size * (parts - 1) / parts
    if mode == "hybrid":
        assert found[SUM] * parts == about
        assert by_name["gradients, all-reduce"].between == 2 * size / parts * (NODES - 1) / NODES
    else:
        assert SUM not in found
        assert "gradients, all-reduce" not in by_name
        assert sum(exchange.between for exchange in by_name.values()) > 0


def test_waiting_is_that_of_samples(cluster: ModuleType) -> None:
    processes, completions = 50, 8
    lengths = cluster.lognormal(120, 0.4, 256)
    pace = cluster.Pace(0.2, 0.01, 1.0, 0.001)
    drawn = np.random.default_rng(0).choice(257, size=(2000, processes, completions), p=lengths)
    rollout = 0.2 + 0.01 * drawn.max(axis=2)
    training = 1.0 + 0.001 * drawn.sum(axis=2)
    found = cluster.waiting(pace, lengths, completions, processes)
    assert found.rollout == pytest.approx(rollout.mean(), rel=0.005)
    assert found.rollout_slowest == pytest.approx(rollout.max(axis=1).mean(), rel=0.005)
    assert found.training == pytest.approx(training.mean(), rel=0.005)
    assert found.training_slowest == pytest.approx(training.max(axis=1).mean(), rel=0.005)


def test_tables_of_a_recipe(cluster, tiny_model_dir, tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    (tmp_path / "completions.jsonl").write_text('{"tokens": 3}\n{"tokens": 9}\n')
    recipe = Path(__file__).parents[2] / "recipes" / "mini" / "grpo.toml"
    words = ["--gpus", "8", "--nodes", "2", "--completions", str(tmp_path / "completions.jsonl")]
    words += ["--model.path", str(tmp_path), "--train.sharding", "hybrid", "--train.prompts_per_step", "8"]
    cluster.main([str(recipe), *words])
    text = capsys.readouterr().out
    assert "8 GPUs on 2 nodes, sharding hybrid" in text
    assert "| together, hybrid |" in text
    assert "2 completions, mean 6" in text
    assert "| 750 | 6,000 questions, 8 a step |" in text
