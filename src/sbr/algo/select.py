"""The one place where the name of an algorithm becomes functions; the training loop only sees an `Algorithm`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from sbr.algo.advantages import group_advantages
from sbr.algo.grpo import GrpoInputs, GrpoMetrics, grpo_loss
from sbr.config import AlgoConfig


@dataclass(frozen=True, slots=True)
class Algorithm:
    advantages: Callable[[Tensor], Tensor]
    """rewards_PG -> advantages_PG"""
    loss: Callable[[GrpoInputs], tuple[Tensor, GrpoMetrics]]
    """Mean loss over the rows it is given, with gradient."""
    needs_reference: bool
    """Whether the frozen starting model has to score every completion."""
    silent_groups_teach: bool
    """Whether a group of advantage 0 still has a gradient (that of a KL term).  If not, it needs no backward pass."""


def select(config: AlgoConfig) -> Algorithm:
    """Return the functions of `config.name`."""
    return Algorithm(
        advantages=partial(group_advantages, eps=config.advantage_eps),
        loss=partial(grpo_loss, config=config),
        needs_reference=config.beta > 0,
        silent_groups_teach=config.beta > 0,
    )
