"""SFT: the mean negative log-likelihood of response tokens."""

from __future__ import annotations

from torch import Tensor


def sft_loss(logprobs_BL: Tensor, mask_BL: Tensor, tokens: float) -> Tensor:
    """Return the part of these B responses in the loss to minimise (a scalar with gradient), in nats a token.

        loss = - 1/N sum_i sum_t log pi(o_i,t | q_i, o_i,<t)

    `tokens` is N, the response tokens of the whole optimizer step, a process on average (data parallelism averages the
    gradients of processes), ends of turn included: so the parts add up to the mean over the step, as the label loss of
    transformers with `num_items_in_batch` does.
    Values at positions where mask_BL is False are never used.
    """
    return -logprobs_BL.masked_fill(~mask_BL, 0.0).sum() / tokens
