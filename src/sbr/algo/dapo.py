"""DAPO: decoupled clipping and the mean over tokens (arXiv 2503.14476, equation 8).

Its other two techniques are no part of the loss: groups without signal are refilled (`Algorithm.extra_rounds`), and
answers near the token limit lose reward (`sbr.reward.length`).
"""

from __future__ import annotations

from torch import Tensor

from sbr.algo.loss import LossInputs, LossMetrics, clipped_objective, log_ratio, loss_metrics


def dapo_loss(inputs: LossInputs, clip_low: float, clip_high: float) -> tuple[Tensor, LossMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/N sum_i sum_t min(ratio A_i, clip(ratio, 1 - clip_low, 1 + clip_high) A_i)

    N is the number of tokens of the whole update (`LossInputs.update_tokens`), as in the authors' code (verl); the
    paper writes the tokens of one group.  Every token counts the same, so a long answer counts more than a short one.
    There is no KL term.
    """
    ratio_BL = log_ratio(inputs).exp()
    objective_BL, stopped_BL = clipped_objective(ratio_BL, inputs.advantages_B, clip_low, clip_high)
    tokens = inputs.mask_BL.sum() if inputs.update_tokens is None else inputs.update_tokens
    loss = -objective_BL.masked_fill(~inputs.mask_BL, 0.0).sum() / max(float(tokens), 1.0)
    return loss, loss_metrics(inputs, loss, ratio_BL, stopped_BL, None)
