"""GRPO-CARE: a bonus for right answers that their reasoning makes likely (arXiv 2506.16141).

The loss is that of GRPO without a KL term.  A slow average of the policy, its reference, reads every completion and
says how likely the answer is after the reasoning.  Among the right completions of a group, those at least as likely as
the others on average earn more.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from sbr.algo.advantages import group_advantages
from sbr.algo.algorithm import Algorithm, AverageSchedule
from sbr.algo.grpo import grpo_loss
from sbr.algo.loss import Importance
from sbr.config.algo import GrpoCareAlgo

ROUNDING = 1e-6
"""The mean of equal numbers need not equal them; ties are at least as likely as their mean."""


def grpo_care(config: GrpoCareAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    loss = partial(
        grpo_loss,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        beta=0.0,
        importance=Importance.of(config),
    )
    return Algorithm(
        partial(group_advantages, eps=config.advantage_eps),
        loss,
        bonus=partial(care_bonus, bonus=config.bonus, margin=config.margin, cap=config.likelihood_cap),
        average=AverageSchedule(config.ema_decay, config.ema_every),
    )


def care_bonus(right_PG: Tensor, likelihood_PG: Tensor, bonus: float, margin: float, cap: float) -> Tensor:
    """Return what each completion earns beside its reward, (P, G): `bonus` or 0.

        p_i     = min(exp(mean log-probability of the answer tokens under the reference), cap)
        bonus_i = bonus  where right_i and p_i >= mean of p over the right completions of the group - margin,  else 0

    `right_PG` is bool; `likelihood_PG` is p before the cap, of no meaning where right_PG is False.  A lone right
    completion is its own mean and earns the bonus.  As coded in TencentARC/GRPO-CARE, grpo_trainer_ref_ema.py; the
    paper's algorithm writes the arithmetic mean of probabilities over the answer tokens.
    """
    capped_PG = likelihood_PG.double().clamp(max=cap).masked_fill(~right_PG, 0.0)
    mean_P1 = capped_PG.sum(dim=1, keepdim=True) / right_PG.sum(dim=1, keepdim=True).clamp(min=1)
    earned_PG = right_PG & (capped_PG >= mean_P1 - margin - ROUNDING)
    return earned_PG.to(likelihood_PG.dtype) * bonus
