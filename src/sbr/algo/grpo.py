"""GRPO: the clipped policy-gradient loss over groups, with a KL term.

arXiv 2402.03300 (equation 3), with the settings of SEED-Bench-R1 (arXiv 2503.24376) as its defaults.
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
    kl_terms,
    log_ratio,
    loss_metrics,
    mean_over_rows,
    penalised,
    row_means,
    weighted,
)
from sbr.config.algo import GrpoAlgo


def grpo(config: GrpoAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    loss = partial(
        grpo_loss,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        beta=config.beta,
        importance=Importance.of(config),
    )
    return Algorithm(partial(group_advantages, eps=config.advantage_eps), loss, config.beta > 0, config.beta > 0)


def grpo_loss(
    inputs: LossInputs, clip_low: float, clip_high: float, beta: float, importance: Importance = NO_CORRECTION
) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/B sum_i 1/|o_i| sum_t [ min(ratio A_i, clip(ratio, 1 - clip_low, 1 + clip_high) A_i) - beta k3_t ]
        ratio = exp(logprobs - old_logprobs)

    With equal groups the mean over B rows is the mean over prompts of the mean over their G completions.  A completion
    without tokens adds nothing to the sum and still counts in B.
    min(...) is multiplied by the importance weight, if any (`sbr.algo.loss.importance_weights`).

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    ratio_BL = log_ratio(inputs).exp()
    objective_BL, stopped_BL = clipped_objective(ratio_BL, inputs.advantages_B, clip_low, clip_high)
    kl_BL = kl_terms(inputs, beta)
    weights = importance_weights(inputs, importance)
    objective_BL = penalised(weighted(objective_BL, weights), kl_BL, beta)
    loss = -mean_over_rows(row_means(objective_BL, inputs.mask_BL), inputs)
    return loss, loss_metrics(inputs, loss, ratio_BL, stopped_BL, kl_BL, weights)
