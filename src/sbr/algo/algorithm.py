"""What an algorithm is to the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sbr.algo.loss import LossInputs, LossMetrics


@dataclass(frozen=True, slots=True)
class AverageSchedule:
    """A reference that follows the policy: average <- decay * average + (1 - decay) * weights, every n-th step."""

    decay: float
    every: int


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Example: Algorithm(partial(group_advantages, eps=1e-4), partial(grpo_loss, ...), needs_reference=True)."""

    advantages: Callable[[Tensor], Tensor]
    """rewards_PG -> advantages_PG"""
    loss: Callable[[LossInputs], tuple[Tensor, LossMetrics]]
    """What the given rows add to the loss of the update, with gradient."""
    needs_reference: bool = False
    """Whether the frozen starting model has to score every completion."""
    silent_groups_teach: bool = False
    """Whether a group of advantage 0 still has a gradient (that of a KL term).  If not, it needs no backward pass."""
    whole_groups: bool = False
    """Whether the loss compares the completions of a prompt with each other, so that a microbatch needs all of them."""
    extra_rounds: int = 0
    """In how many further rounds other prompts may take the slots of groups without signal."""
    length_weight: float = 0.0
    """Added to `reward.length_weight`."""
    bonus: Callable[[Tensor, Tensor], Tensor] | None = None
    """right_PG (bool), likelihood_PG of the answers under the averaged reference -> bonus_PG, added to the rewards."""
    average: AverageSchedule | None = None
    """Of that reference; set with `bonus`."""
    warning: str | None = None
    """What to know before the start; logged once."""
