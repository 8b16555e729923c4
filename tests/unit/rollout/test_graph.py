"""CUDA graphs where there is no GPU; how recorded steps are asked: tests/parity/test_generation_parity.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.errors import ConfigError
from sbr.rollout.sampler import open_sampler


def test_graphs_are_refused_where_they_cannot_be_recorded() -> None:
    values = {"model": {"path": "m"}, "data": {"root": "d"}, "output_dir": "o", "rollout": {"graphs": True}}
    model: object = SimpleNamespace(device=torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"rollout\.graphs records CUDA graphs, and the model is on a cpu"):
        open_sampler(model, None, validate(GrpoRecipe, values, "test"))  # type: ignore[arg-type]
