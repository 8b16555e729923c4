"""GSPO: one ratio a completion instead of one a token (arXiv 2507.18071, equations 5 and 7)."""

from __future__ import annotations

from torch import Tensor

from sbr.algo.loss import (
    LossInputs,
    LossMetrics,
    clipped_objective,
    kl_terms,
    log_ratio,
    loss_metrics,
    mean_over_rows,
    penalised,
    row_means,
)


def gspo_loss(inputs: LossInputs, clip_low: float, clip_high: float, beta: float) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/B sum_i [ min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i) - beta 1/|o_i| sum_t k3_t ]
        s_i = (pi(o_i) / pi_old(o_i)) ** (1 / |o_i|) = exp(1/|o_i| sum_t (logprobs - old_logprobs))

    s_i is a geometric mean over tokens and stays much closer to 1 than they do; hence the small clip range.

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    ratio_B1 = row_means(log_ratio(inputs), inputs.mask_BL)[:, None].exp()
    objective_B1, stopped_B1 = clipped_objective(ratio_B1, inputs.advantages_B, clip_low, clip_high)
    kl_BL = kl_terms(inputs, beta)
    objective_BL = penalised(objective_B1, kl_BL, beta).expand(inputs.mask_BL.shape)
    loss = -mean_over_rows(row_means(objective_BL, inputs.mask_BL), inputs)
    return loss, loss_metrics(inputs, loss, ratio_B1, stopped_B1, kl_BL)
