"""GRPO: the clipped policy-gradient loss over groups, with a KL term.

arXiv 2402.03300 (equation 3), with the settings of SEED-Bench-R1 (arXiv 2503.24376) as the defaults of `AlgoConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbr.algo.kl import k3
from sbr.config import AlgoConfig


@dataclass(frozen=True, slots=True, eq=False)
class GrpoInputs:
    """B completions of up to L tokens.  Log-probabilities are natural logs at temperature 1.

    Example: 2 prompts x 8 completions, longest 57 tokens: four tensors (16, 57) and advantages_B (16,).
    Values at positions where mask_BL is False are never used.
    """

    logprobs_BL: Tensor
    """Under the policy that is trained; the only tensor with a gradient."""
    old_logprobs_BL: Tensor
    """Under the policy that sampled.  `logprobs_BL.detach()` when there is one update per rollout."""
    ref_logprobs_BL: Tensor | None
    """Under the frozen reference; may be None when beta is 0."""
    mask_BL: Tensor
    """bool; True at tokens the model produced, the end of turn included."""
    advantages_B: Tensor


@dataclass(frozen=True, slots=True)
class GrpoMetrics:
    """Means over the tokens of one batch; `rows` and `tokens` are the weights for averaging several batches."""

    rows: int
    tokens: int
    loss: float
    """Mean over rows, as minimised."""
    kl: float | None
    """None without reference log-probabilities."""
    ratio_mean: float
    clip_fraction: float
    """Share of tokens where clipping stops the gradient."""


def grpo_loss(inputs: GrpoInputs, config: AlgoConfig) -> tuple[Tensor, GrpoMetrics]:
    """Return the loss to minimise (a scalar with gradient) and its metrics.

        loss = - 1/B sum_i 1/|o_i| sum_t [ min(ratio A_i, clip(ratio, 1 - clip_low, 1 + clip_high) A_i) - beta k3_t ]
        ratio = exp(logprobs - old_logprobs)

    With equal groups the mean over B rows is the mean over prompts of the mean over their G completions.  A completion
    without tokens adds nothing to the sum and still counts in B.

    Raises ValueError when beta > 0 and there are no reference log-probabilities.
    """
    mask_BL = inputs.mask_BL
    advantages_B1 = inputs.advantages_B[:, None]
    # Padding may hold anything; zeros there keep exp() finite, so that 0 * inf cannot turn a gradient into NaN.
    logprobs_BL = inputs.logprobs_BL.masked_fill(~mask_BL, 0.0)
    ratio_BL = (logprobs_BL - inputs.old_logprobs_BL.masked_fill(~mask_BL, 0.0)).exp()
    clipped_BL = ratio_BL.clamp(1 - config.clip_low, 1 + config.clip_high)
    objective_BL = torch.minimum(ratio_BL * advantages_B1, clipped_BL * advantages_B1)

    kl_BL = None
    if inputs.ref_logprobs_BL is not None:
        kl_BL = k3(logprobs_BL, inputs.ref_logprobs_BL.masked_fill(~mask_BL, 0.0))
    if config.beta > 0:
        if kl_BL is None:
            raise ValueError("algo.beta is above 0, so the loss needs ref_logprobs_BL")
        objective_BL = objective_BL - config.beta * kl_BL

    loss = -row_means(objective_BL, mask_BL).mean()
    with torch.no_grad():
        stopped_BL = ((ratio_BL < 1 - config.clip_low) & (advantages_B1 < 0)) | (
            (ratio_BL > 1 + config.clip_high) & (advantages_B1 > 0)
        )
        metrics = GrpoMetrics(
            rows=mask_BL.shape[0],
            tokens=int(mask_BL.sum()),
            loss=loss.item(),
            kl=None if kl_BL is None else token_mean(kl_BL, mask_BL),
            ratio_mean=token_mean(ratio_BL, mask_BL),
            clip_fraction=token_mean(stopped_BL.to(ratio_BL.dtype), mask_BL),
        )
    return loss, metrics


def row_means(values_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Return the mean over the masked tokens of each row, (B,); a row without tokens is 0."""
    return values_BL.masked_fill(~mask_BL, 0.0).sum(dim=1) / mask_BL.sum(dim=1).clamp(min=1)


def token_mean(values_BL: Tensor, mask_BL: Tensor) -> float:
    """Return the mean over all masked tokens; 0 when there are none."""
    return (values_BL.masked_fill(~mask_BL, 0.0).sum() / mask_BL.sum().clamp(min=1)).item()
