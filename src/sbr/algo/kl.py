"""The k3 estimate of the distance between policy and reference, one token at a time."""

from __future__ import annotations

from torch import Tensor

MAX_LOG_DIFFERENCE = 11.0
"""The official trainer clamps ref - pi to this range, so that exp() of one odd token cannot swamp a batch."""


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return exp(d) - d - 1 with d = ref_logprobs - logprobs clamped to +-11; same shape, never negative.

    An unbiased estimate of KL(policy || reference) for tokens drawn from the policy: k3 of
    http://joschu.net/blog/kl-approx.html, used by GRPO (arXiv 2402.03300, equation 4).  A clamped token gets no
    gradient from this term.
    """
    difference = (ref_logprobs - logprobs).clamp(-MAX_LOG_DIFFERENCE, MAX_LOG_DIFFERENCE)
    return difference.exp() - difference - 1
