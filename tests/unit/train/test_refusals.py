"""What cannot be trained in parts, and what "auto" means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.errors import ConfigError
from sbr.train import sharding
from sbr.train.refusals import check_sharding

EIGHT: Any = SimpleNamespace(num_processes=8, is_main_process=True, device=torch.device("cpu"))


def recipe(**changes: Any) -> GrpoRecipe:
    values: dict[str, Any] = {"model": {"path": "m"}, "data": {"root": "d"}, "output_dir": "o", **changes}
    return validate(GrpoRecipe, values, "test")


@pytest.mark.parametrize(
    ("mode", "changes", "local", "words"),
    [
        ("full", {"train": {"optimizer": "adamw_8bit"}}, "8", 'is "auto", here "full", and the moments'),
        (
            "full",
            {"train": {"sharding": "full"}, "rollout": {"twin": False}},
            "8",
            'is "full", and nothing can be drawn',
        ),
        ("hybrid", {"train": {"sharding": "hybrid"}}, "3", "there are 8 in all, and 3 on this one"),
    ],
)
def test_what_cannot_be_cut_is_refused(monkeypatch, mode, changes, local, words):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    with pytest.raises(ConfigError, match=words):
        check_sharding(recipe(**changes), mode, EIGHT)
    check_sharding(recipe(**changes), "none", EIGHT)


@pytest.mark.parametrize(("room", "local", "mode"), [(5000, "8", "none"), (3000, "8", "full"), (3000, "4", "hybrid")])
def test_auto_cuts_what_takes_more_than_half_of_the_memory(monkeypatch, room, local, mode):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    monkeypatch.setattr(sharding, "memory_of_process", lambda device: room)
    monkeypatch.setattr(sharding.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(sharding, "broadcast_object_list", lambda found: found)
    with torch.device("meta"):
        policy = torch.nn.Linear(9, 10)  # 100 parameters
    policy.bias.requires_grad_(False)
    # 90 weights with gradient and moments, 10 without, a reference of all.
    assert sharding.state_bytes(policy, 1) == 90 * 12 + 2 * 400
    assert sharding.choose("auto", lambda: policy, 1, EIGHT) == mode
    assert sharding.choose("hybrid", lambda: policy, 1, EIGHT) == "hybrid"


def test_one_process_shares_with_nobody():
    assert sharding.choose("full", lambda: torch.nn.Linear(1, 1), 0, EIGHT) == "none"
