"""Reg-GRPO: the advantage is regressed instead of clipped (DeepVideo-R1, arXiv 2506.07464, equations 7 and 8)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sbr.algo.advantages import group_advantages
from sbr.algo.algorithm import Algorithm
from sbr.algo.loss import (
    NO_CORRECTION,
    Importance,
    LossInputs,
    LossMetrics,
    importance_weights,
    kl_terms,
    log_ratio,
    loss_metrics,
    mean_over_rows,
    penalised,
    row_means,
    weighted,
)
from sbr.config.algo import RegGrpoAlgo

_KL_IS_IDLE = (
    "reg_grpo: in the first update of every rollout the gradient of the regression is multiplied by 2 / "
    "algo.advantage_eps (20,000 by default), and clipping scales all down together: the KL term (algo.beta) counts for "
    "next to nothing beside it, and its reference takes memory; set algo.beta to 0, or raise algo.advantage_eps"
)


def reg_grpo(config: RegGrpoAlgo, max_new_tokens: int) -> Algorithm:
    """Return the algorithm for the keys of a recipe."""
    return Algorithm(
        partial(group_advantages, eps=config.advantage_eps),
        partial(reg_grpo_loss, beta=config.beta, eps=config.advantage_eps, importance=Importance.of(config)),
        needs_reference=config.beta > 0,
        # A silent group is regressed towards 0, which pulls as soon as the policy has moved.
        silent_groups_teach=True,
        whole_groups=True,
        warning=_KL_IS_IDLE if config.beta > 0 else None,
    )


def reg_grpo_loss(
    inputs: LossInputs, beta: float, eps: float, importance: Importance = NO_CORRECTION
) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = 1/B sum_i [ (A_i - P_i)^2 + beta 1/|o_i| sum_t k3_t ]
        P_i  = (rho_i - mean(rho)) / (std(rho) + eps),  rho_i = log pi(o_i) - log pi_old(o_i)

    mean and std (ddof=1) over the G completions of a prompt, as for A_i.  The gradient flows through both.  The paper
    prints "- beta KL" inside a loss that is minimised; since the term is to keep the policy near the reference, it is
    added here.

    The paper does not say what happens when all rho are equal, as they are (0) in the first update of every rollout.
    With `eps` (that of the advantage) P_i is then 0 and the gradient is -2/eps A_i grad log pi(o_i): a policy gradient,
    whose length `train.max_grad_norm` decides.

    (A_i - P_i)^2 is multiplied by the importance weight of the completion, if any, or by the mean weight of its tokens
    (`sbr.algo.loss.importance_weights`).

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    log_ratio_BL = log_ratio(inputs)
    rho_PG = log_ratio_BL.sum(dim=1).view(-1, inputs.group_size)
    centred_PG = rho_PG - rho_PG.mean(dim=1, keepdim=True)
    predicted_B = (centred_PG / (_std(centred_PG) + eps)).flatten()
    kl_BL = kl_terms(inputs, beta)
    # (A - P)^2 belongs to a completion, so every one of its tokens holds it.
    weights = importance_weights(inputs, importance)
    negative_BL = weighted(-((inputs.advantages_B - predicted_B) ** 2)[:, None], weights)
    negative_BL = penalised(negative_BL, kl_BL, beta)
    loss = -mean_over_rows(row_means(negative_BL.expand(inputs.mask_BL.shape), inputs.mask_BL), inputs)
    ratio_BL = log_ratio_BL.detach().exp()
    return loss, loss_metrics(inputs, loss, ratio_BL, torch.zeros_like(ratio_BL), kl_BL, weights)


def _std(centred_PG: Tensor) -> Tensor:
    """Standard deviation (ddof=1) of each group, (P, 1); where it is 0 its gradient is 0, not NaN."""
    variance_P1 = (centred_PG**2).sum(dim=1, keepdim=True) / (centred_PG.shape[1] - 1)
    zero_P1 = variance_P1 == 0
    return variance_P1.masked_fill(zero_P1, 1.0).sqrt().masked_fill(zero_P1, 0.0)
