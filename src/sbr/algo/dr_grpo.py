"""Dr. GRPO: GRPO without its two biases (arXiv 2503.20783).

Dividing by the length of an answer favours long wrong answers, and dividing by the standard deviation of a group
favours questions that are nearly always or nearly never answered.  Here the length norm is one constant, the advantage
is the centred reward (`sbr.algo.advantages.centred_rewards`), and there is no KL term by default.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from sbr.algo.advantages import centred_rewards
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
    weighted,
)
from sbr.config.algo import DrGrpoAlgo


def dr_grpo(config: DrGrpoAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    loss = partial(
        dr_grpo_loss,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        beta=config.beta,
        max_tokens=max_new_tokens,
        importance=Importance.of(config),
    )
    return Algorithm(centred_rewards, loss, config.beta > 0, config.beta > 0)


def dr_grpo_loss(
    inputs: LossInputs,
    clip_low: float,
    clip_high: float,
    beta: float,
    max_tokens: int,
    importance: Importance = NO_CORRECTION,
) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/B sum_i 1/max_tokens sum_t [ min(ratio A_i, clip(ratio, ...) A_i) - beta k3_t ],  A_i = r_i - mean(r)

    `max_tokens` is the most tokens a completion may have (rollout.max_new_tokens), as in the authors' code (oat).
    min(...) is multiplied by the importance weight, if any (`sbr.algo.loss.importance_weights`).

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    ratio_BL = log_ratio(inputs).exp()
    objective_BL, stopped_BL = clipped_objective(ratio_BL, inputs.advantages_B, clip_low, clip_high)
    kl_BL = kl_terms(inputs, beta)
    weights = importance_weights(inputs, importance)
    sums_B = penalised(weighted(objective_BL, weights), kl_BL, beta).masked_fill(~inputs.mask_BL, 0.0).sum(dim=1)
    loss = -mean_over_rows(sums_B / max_tokens, inputs)
    return loss, loss_metrics(inputs, loss, ratio_BL, stopped_BL, kl_BL, weights)
