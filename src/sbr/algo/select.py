"""The one place where the name of an algorithm becomes functions; the training loop only sees an `Algorithm`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from sbr.algo.advantages import centred_rewards, group_advantages
from sbr.algo.dapo import dapo_loss
from sbr.algo.dr_grpo import dr_grpo_loss
from sbr.algo.grpo import grpo_loss
from sbr.algo.grpo_care import care_bonus
from sbr.algo.gspo import gspo_loss
from sbr.algo.loss import LossInputs, LossMetrics
from sbr.algo.reg_grpo import reg_grpo_loss
from sbr.config.algo import ALGO_DEFAULTS, AlgoConfig


@dataclass(frozen=True, slots=True)
class AverageSchedule:
    """A reference that follows the policy: average <- decay * average + (1 - decay) * weights, every n-th step."""

    decay: float
    every: int


@dataclass(frozen=True, slots=True)
class Algorithm:
    advantages: Callable[[Tensor], Tensor]
    """rewards_PG -> advantages_PG"""
    loss: Callable[[LossInputs], tuple[Tensor, LossMetrics]]
    """What the given rows add to the loss of the update, with gradient."""
    needs_reference: bool = False
    """Whether the frozen starting model has to score every completion."""
    silent_groups_teach: bool = False
    """Whether a group of advantage 0 still has a gradient (that of a KL term).  If not, it needs no backward pass."""
    extra_rounds: int = 0
    """In how many further rounds other prompts may take the slots of groups without signal."""
    length_weight: float = 0.0
    """Added to `reward.length_weight`."""
    bonus: Callable[[Tensor, Tensor], Tensor] | None = None
    """right_PG (bool), likelihood_PG of the answers under the averaged reference -> bonus_PG, added to the rewards."""
    average: AverageSchedule | None = None
    """Of that reference; set with `bonus`."""


def select(config: AlgoConfig, max_new_tokens: int) -> Algorithm:
    """Return the functions of `config.name`; `max_new_tokens` is that of the rollouts."""
    own = {key: float(getattr(config, key)) for key in ALGO_DEFAULTS[config.name]}
    beta = own.get("beta", 0.0)
    clip = {key: own[key] for key in ("clip_low", "clip_high") if key in own}
    standardised = partial(group_advantages, eps=own.get("advantage_eps", 0.0))
    match config.name:
        case "grpo":
            return Algorithm(standardised, partial(grpo_loss, **clip, beta=beta), beta > 0, beta > 0)
        case "dr_grpo":
            loss = partial(dr_grpo_loss, **clip, beta=beta, max_tokens=max_new_tokens)
            return Algorithm(centred_rewards, loss, beta > 0, beta > 0)
        case "dapo":
            loss = partial(dapo_loss, **clip)
            return Algorithm(
                standardised, loss, extra_rounds=int(own["extra_rounds"]), length_weight=own["overlong_weight"]
            )
        case "gspo":
            return Algorithm(standardised, partial(gspo_loss, **clip, beta=beta), beta > 0, beta > 0)
        case "reg_grpo":
            # A silent group is regressed towards 0, which pulls as soon as the policy has moved.
            loss = partial(reg_grpo_loss, beta=beta, eps=own["advantage_eps"])
            return Algorithm(standardised, loss, beta > 0, silent_groups_teach=True)
        case "grpo_care":
            return Algorithm(
                standardised,
                partial(grpo_loss, **clip, beta=0.0),
                bonus=partial(care_bonus, bonus=own["bonus"], margin=own["margin"], cap=own["likelihood_cap"]),
                average=AverageSchedule(own["ema_decay"], int(own["ema_every"])),
            )
