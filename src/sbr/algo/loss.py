"""What the losses of the GRPO family share: inputs, metrics, the clipped ratio and the ways to average.

A loss is a sum over the completions it is given, divided by a number that belongs to the whole optimizer update.  So
the losses of microbatches add up to the loss of the update, and their gradients to its gradient, however the update is
cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sbr.algo.kl import k3
from sbr.config.algo import FamilySection, ImportanceKind


@dataclass(frozen=True, slots=True, eq=False)
class LossInputs:
    """B completions of up to L tokens.  Log-probabilities are natural logs.

    All three policies are softmax(logits / T) with T the temperature that completions are drawn at: that is the policy
    whose rewards are seen, and its gradient is not parallel to that of the policy at temperature 1.

    Example: 2 prompts x 8 completions, longest 57 tokens: four tensors (16, 57) and advantages_B (16,).
    Values at positions where mask_BL is False are never used.
    """

    logprobs_BL: Tensor
    """Under the policy that is trained; the only tensor with a gradient."""
    old_logprobs_BL: Tensor
    """Under the policy that sampled, by the training pass.  `logprobs_BL.detach()` with one update per rollout."""
    ref_logprobs_BL: Tensor | None
    """Under the frozen reference; may be None when beta is 0."""
    mask_BL: Tensor
    """bool; True at tokens the model produced, the end of turn included."""
    advantages_B: Tensor
    group_size: int = 1
    """Rows p0g0, p0g1, ...: so many in a row answer one prompt."""
    update_rows: float | None = None
    """Completions of the whole update, over all processes and divided by their number (None: these B)."""
    update_tokens: float | None = None
    """The same of tokens (None: those of mask_BL)."""
    rollout_logprobs_BL: Tensor | None = None
    """What the sampler drew with; needed when `Importance` asks for weights."""


@dataclass(frozen=True, slots=True)
class Importance:
    """How a sampler is corrected whose probabilities are not those of training (`importance_weights`)."""

    kind: ImportanceKind = "none"
    cap: float = 3.0

    @classmethod
    def of(cls, config: FamilySection) -> Importance:
        return cls(config.importance, config.importance_cap)


NO_CORRECTION = Importance()


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Of every token, (B, L), or of every completion, (B, 1); without gradient."""

    used: Tensor
    capped: Tensor
    """bool: the weight was above the cap."""


@dataclass(frozen=True, slots=True)
class LossMetrics:
    """Means over the tokens of one batch; `tokens` is the weight for averaging several batches."""

    rows: int
    tokens: int
    loss: float
    """As minimised: what this batch adds to the loss of the update."""
    kl: float | None
    """None without reference log-probabilities."""
    ratio_mean: float
    clip_fraction: float
    """Share of tokens where clipping stops the gradient."""
    importance_mean: float | None = None
    """Of the weights as used; None without weights."""
    importance_capped: float | None = None
    """Share of tokens whose weight was above the cap."""


def log_ratio(inputs: LossInputs) -> Tensor:
    """Return log(policy / old policy) of every token, (B, L); 0 at padding.

    Padding may hold anything; zeros there keep exp() finite, so that 0 * inf cannot turn a gradient into NaN.
    """
    padding_BL = ~inputs.mask_BL
    return inputs.logprobs_BL.masked_fill(padding_BL, 0.0) - inputs.old_logprobs_BL.masked_fill(padding_BL, 0.0)


def importance_weights(inputs: LossInputs, importance: Importance) -> Weights | None:
    """Return what the objective of each token is multiplied by, or None when nothing is to be corrected.

        w = exp(old_logprobs - rollout_logprobs)           a token (token, token_mask), or
        w = exp(sum_t (old_logprobs - rollout_logprobs))   a whole completion (completion, completion_mask)
        truncated: min(w, cap)        masked: w where w <= cap, else 0

    Truncated a token: Yao et al. 2025, https://fengyao.notion.site/off-policy-rl (cap 2).  A completion, and masks: Liu
    et al. 2025, https://richardli.xyz/rl-collapse, as in verl's rollout correction and as TRL's
    `vllm_importance_sampling_mode` (sequence_mask with cap 3 by default).  A mask a token, with a bound below as well:
    IcePop, arXiv 2510.18855.  The KL term is not weighted, and what is masked still counts in the numbers that the loss
    divides by, as in TRL.

    Raises ValueError without rollout_logprobs_BL.
    """
    if importance.kind == "none":
        return None
    if inputs.rollout_logprobs_BL is None:
        raise ValueError("algo.importance is not none, so the loss needs rollout_logprobs_BL")
    padding_BL = ~inputs.mask_BL
    log = inputs.old_logprobs_BL.detach().masked_fill(padding_BL, 0.0) - inputs.rollout_logprobs_BL.masked_fill(
        padding_BL, 0.0
    )
    if importance.kind in ("completion", "completion_mask"):
        log = log.sum(dim=1, keepdim=True)
    weights = log.exp()
    capped = weights > importance.cap
    replacement = 0.0 if importance.kind in ("token_mask", "completion_mask") else importance.cap
    return Weights(weights.masked_fill(capped, replacement), capped)


def weighted(objective: Tensor, weights: Weights | None) -> Tensor:
    """Return the objective times its importance weights; without weights `objective` itself."""
    return objective if weights is None else objective * weights.used


def clipped_objective(ratio: Tensor, advantages_B: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """Return min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A) and where clipping stops its gradient (bool).

    `ratio` is (B, L), a ratio a token, or (B, 1), one a completion.  PPO, arXiv 1707.06347, equation 7.
    """
    advantages_B1 = advantages_B[:, None]
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    objective = torch.minimum(ratio * advantages_B1, clipped * advantages_B1)
    stopped = ((ratio < 1 - clip_low) & (advantages_B1 < 0)) | ((ratio > 1 + clip_high) & (advantages_B1 > 0))
    return objective, stopped


def kl_terms(inputs: LossInputs, beta: float) -> Tensor | None:
    """Return the k3 estimate of every token, (B, L), or None without a reference.

    Raises ValueError when beta > 0 and there is no reference.
    """
    if inputs.ref_logprobs_BL is None:
        if beta > 0:
            raise ValueError("algo.beta is above 0, so the loss needs ref_logprobs_BL")
        return None
    padding_BL = ~inputs.mask_BL
    return k3(inputs.logprobs_BL.masked_fill(padding_BL, 0.0), inputs.ref_logprobs_BL.masked_fill(padding_BL, 0.0))


def penalised(objective: Tensor, kl_BL: Tensor | None, beta: float) -> Tensor:
    """Return objective - beta KL; without a KL term `objective` itself."""
    return objective - beta * kl_BL if kl_BL is not None and beta > 0 else objective


def row_means(values_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Return the mean over the masked tokens of each row, (B,); a row without tokens is 0."""
    return values_BL.masked_fill(~mask_BL, 0.0).sum(dim=1) / mask_BL.sum(dim=1).clamp(min=1)


def mean_over_rows(values_B: Tensor, inputs: LossInputs) -> Tensor:
    """Return what these rows add to the mean over the rows of the update."""
    return values_B.sum() / (len(values_B) if inputs.update_rows is None else inputs.update_rows)


def token_mean(values_BL: Tensor, mask_BL: Tensor) -> float:
    """Return the mean over all masked tokens; 0 when there are none."""
    return (values_BL.masked_fill(~mask_BL, 0.0).sum() / mask_BL.sum().clamp(min=1)).item()


@torch.no_grad()
def loss_metrics(
    inputs: LossInputs, loss: Tensor, ratio: Tensor, stopped: Tensor, kl_BL: Tensor | None, weights: Weights | None
) -> LossMetrics:
    """`ratio`, `stopped` and the weights are (B, L), or (B, 1) for all tokens of a row."""
    mask_BL = inputs.mask_BL

    def mean(values: Tensor) -> float:
        return token_mean(values.expand(mask_BL.shape).to(ratio.dtype), mask_BL)

    return LossMetrics(
        rows=mask_BL.shape[0],
        tokens=int(mask_BL.sum()),
        loss=loss.item(),
        kl=None if kl_BL is None else token_mean(kl_BL, mask_BL),
        ratio_mean=mean(ratio),
        clip_fraction=mean(stopped),
        importance_mean=None if weights is None else mean(weights.used),
        importance_capped=None if weights is None else mean(weights.capped),
    )
