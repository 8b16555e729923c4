"""GSPO: one ratio a completion instead of one a token (arXiv 2507.18071, equations 5 and 7)."""

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
    kl_terms,
    log_ratio,
    loss_metrics,
    mean_over_rows,
    penalised,
    row_means,
    weighted,
)
from sbr.config.algo import GspoAlgo


def gspo(config: GspoAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    loss = partial(
        gspo_loss,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        beta=config.beta,
        importance=Importance.of(config),
    )
    return Algorithm(partial(group_advantages, eps=config.advantage_eps), loss, config.beta > 0, config.beta > 0)


def gspo_loss(
    inputs: LossInputs, clip_low: float, clip_high: float, beta: float, importance: Importance = NO_CORRECTION
) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/B sum_i [ min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i) - beta 1/|o_i| sum_t k3_t ]
        s_i = (pi(o_i) / pi_old(o_i)) ** (1 / |o_i|) = exp(1/|o_i| sum_t (logprobs - old_logprobs))

    s_i is a geometric mean over tokens and stays much closer to 1 than they do; hence the small clip range.
    min(...) is multiplied by the importance weight, if any (`sbr.algo.loss.importance_weights`).

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    ratio_B1 = row_means(log_ratio(inputs), inputs.mask_BL)[:, None].exp()
    objective_B1, stopped_B1 = clipped_objective(ratio_B1, inputs.advantages_B, clip_low, clip_high)
    kl_BL = kl_terms(inputs, beta)
    weights = importance_weights(inputs, importance)
    objective_BL = penalised(weighted(objective_B1, weights), kl_BL, beta).expand(inputs.mask_BL.shape)
    loss = -mean_over_rows(row_means(objective_BL, inputs.mask_BL), inputs)
    return loss, loss_metrics(inputs, loss, ratio_B1, stopped_B1, kl_BL, weights)
