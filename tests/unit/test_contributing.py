"""The examples of CONTRIBUTING.md, run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sbr.algo.loss import LossInputs
from sbr.algo.select import select
from sbr.config.load import load_recipe
from sbr.config.named import load_named
from sbr.config.recipes import GrpoRecipe
from sbr.reward.score import score
from sbr.rollout import sampler as sampler_module
from sbr.rollout.sampling import Sampling

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
MINIMAL = 'output_dir = "runs/x"\n[model]\npath = "sbr:mini"\n[data]\nroot = "data"\n'


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the recipes of the examples say together, in a folder that holds their modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_named.cache_clear()
    together = MINIMAL
    for name, block in re.findall(r"^    # (my_\w+\.\w+)\n((?:(?:    .*)?\n)+?)(?=\S|    # )", TEXT, re.MULTILINE):
        lines = "".join(line.removeprefix("    ") for line in block.splitlines(keepends=True))
        if name == "my_recipe.toml":
            together += lines.replace('[algo]\nimportance = "token"\n', "")  # belongs to an algorithm of the package
        else:
            (tmp_path / name).write_text(lines)
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    (tmp_path / "recipe.toml").write_text(together)
    return load_recipe(GrpoRecipe, tmp_path / "recipe.toml")


def test_the_rewards(recipe, sbr_sample):
    sample = sbr_sample()
    text = f"<think>{sample.gold_text}</think><answer>{sample.gold}</answer>"
    found = score(text, sample, recipe.reward, tokens=50, limit=256)
    assert found.custom == (("my_rewards:brief", 0.75), ("my_rewards:quotes_the_option", 1.0))
    assert found.reward == pytest.approx(1 + 0.2 * 0.75 + 0.5)


def test_the_algorithm(recipe):
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    advantages_PG = algorithm.advantages(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(advantages_PG, torch.tensor([[1.0, -0.5, -0.5], [0.0, 0.0, 0.0]]))
    logprobs_BL = torch.log(torch.tensor([[1.4], [0.9], [1.0]])).requires_grad_()
    loss, metrics = algorithm.loss(
        LossInputs(
            logprobs_BL=logprobs_BL,
            old_logprobs_BL=torch.zeros(3, 1),
            ref_logprobs_BL=None,
            mask_BL=torch.ones(3, 1, dtype=torch.bool),
            advantages_B=advantages_PG[0],
        )
    )
    assert loss.item() == pytest.approx(-(1.3 - 0.45 - 0.5) / 3)  # the first ratio is cut at 1 + clip
    assert metrics.clip_fraction == pytest.approx(1 / 3)


def test_the_sampler(recipe, monkeypatch):
    drawn: list[Sampling] = []
    monkeypatch.setattr(sampler_module.NativeSampler, "__init__", lambda self, *_: None)
    monkeypatch.setattr(sampler_module.NativeSampler, "sample", lambda self, *arguments: drawn.append(arguments[-1]))
    sampler = sampler_module.open_sampler(None, SimpleNamespace(tokenizer=None), recipe)  # type: ignore[arg-type]
    sampler.sample([], [], 2, Sampling(top_k=3))
    assert drawn == [Sampling(temperature=1.2, top_k=3)]
