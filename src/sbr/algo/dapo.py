"""DAPO: decoupled clipping and the mean over tokens (arXiv 2503.14476, equation 8).

Its other two techniques are no part of the loss: groups without signal are refilled (`Algorithm.extra_rounds`), and
answers near the token limit lose reward (`sbr.reward.length`).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from sbr.algo.advantages import group_advantages
from sbr.algo.algorithm import Algorithm
from sbr.algo.loss import (
    NO_CORRECTION,
    Importance,
    LossInputs,
    LossMetrics,
    clipped_objective,
    importance_weights,
    log_ratio,
    loss_metrics,
    weighted,
)
from sbr.config.algo import DapoAlgo


def dapo(config: DapoAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    return Algorithm(
        partial(group_advantages, eps=config.advantage_eps),
        partial(dapo_loss, clip_low=config.clip_low, clip_high=config.clip_high, importance=Importance.of(config)),
        extra_rounds=config.extra_rounds,
        length_weight=config.overlong_weight,
    )


def dapo_loss(
    inputs: LossInputs, clip_low: float, clip_high: float, importance: Importance = NO_CORRECTION
) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/N sum_i sum_t min(ratio A_i, clip(ratio, 1 - clip_low, 1 + clip_high) A_i)

    N is the number of tokens of the whole update (`LossInputs.update_tokens`), as in the authors' code (verl); the
    paper writes the tokens of one group.  Every token counts the same, so a long answer counts more than a short one.
    There is no KL term.  min(...) is multiplied by the importance weight, if any (`sbr.algo.loss.importance_weights`).
    """
    ratio_BL = log_ratio(inputs).exp()
    objective_BL, stopped_BL = clipped_objective(ratio_BL, inputs.advantages_B, clip_low, clip_high)
    weights = importance_weights(inputs, importance)
    objective_BL = weighted(objective_BL, weights)
    tokens = inputs.mask_BL.sum() if inputs.update_tokens is None else inputs.update_tokens
    loss = -objective_BL.masked_fill(~inputs.mask_BL, 0.0).sum() / max(float(tokens), 1.0)
    return loss, loss_metrics(inputs, loss, ratio_BL, stopped_BL, None, weights)
