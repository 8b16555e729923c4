"""Log-probabilities of completions, with gradient, the prompt computed once per group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from sbr.model.families import VisionLanguageModel
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.types import Prompt

CHUNK = 1024
"""Completion tokens whose logits exist at the same time: 1024 x 152,064 float32 are 0.6 GB."""


class CompletionLogprobs(NamedTuple):
    """Rows in the order p0g0, p0g1, ..., p1g0; L is the longest completion; padding is 0 / False at the right.

    A tuple, so that wrappers of a model find the tensors in it.
    """

    logprobs_BL: torch.Tensor
    """Natural log-probability of each token, float32 (float64 for a float64 model), with gradient."""
    mask_BL: torch.Tensor
    """True where a token is."""
    entropy_BL: torch.Tensor
    """Entropy in nats of the distribution of each token, without gradient."""


def completion_logprobs(
    model: VisionLanguageModel,
    prompts: Sequence[Prompt],
    completions_PG: Sequence[Sequence[Sequence[int]]],
    temperature: float = 1.0,
) -> CompletionLogprobs:
    """Log pi(o_t | prompt, o_<t) over the full vocabulary, for each token of each completion.

    pi is softmax(logits / temperature), the temperature (more than 0) that completions are drawn at: this is the policy
    that gets the reward.  Filters of sampling (top_p, top_k, banned tokens) are not part of it.
    `completions_PG[p]` holds the token ids of the completions of `prompts[p]`.  The pass needs a model loaded by
    `sbr.model.load.load_model`.  Exact: equal to a plain forward on every prompt + completion, up to rounding.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; softmax(logits / temperature) needs more than 0")
    row = pack(model, prompts, completions_PG)
    hidden = packed_hidden_states(model, prompts, row).index_select(0, row.predicts)
    completions_B = [completion for group in completions_PG for completion in group]
    tokens = [token for completion in completions_B for token in completion]
    targets = torch.tensor(tokens, dtype=torch.long, device=hidden.device)
    logprobs, entropy = token_logprobs(model.lm_head, hidden, targets, temperature)

    lengths_B = torch.tensor([len(completion) for completion in completions_B], device=hidden.device)
    longest = max((len(completion) for completion in completions_B), default=0)
    mask_BL = torch.arange(longest, device=hidden.device) < lengths_B[:, None]
    zeros_BL = logprobs.new_zeros(mask_BL.shape)
    return CompletionLogprobs(
        zeros_BL.masked_scatter(mask_BL, logprobs), mask_BL, zeros_BL.masked_scatter(mask_BL, entropy)
    )


def at_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """logits / temperature in at least float32: what the softmax of sampling and training is taken of."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def token_logprobs(
    lm_head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, hidden width), (N,) -> (N,) log-probabilities, (N,) entropies; several chunks are recomputed in backward.

    `hidden` are the last hidden states that predict the tokens `targets`.
    """

    def head(hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = at_temperature(lm_head(hidden), temperature)
        logprobs = logits.log_softmax(-1)
        picked = logprobs.gather(-1, targets[:, None]).squeeze(-1)
        # Last, because recomputation stops as soon as it has what the gradient needs.
        return picked, torch.special.entr(logprobs.detach().exp()).sum(-1)

    # A single chunk is not worth recomputing: its logits live as long either way, from here to the start of backward.
    recompute = torch.is_grad_enabled() and len(targets) > CHUNK
    outputs = [
        checkpoint(head, part, target, use_reentrant=False, preserve_rng_state=False)
        if recompute
        else head(part, target)
        for part, target in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    ]
    logprobs, entropy = zip(*outputs, strict=True)
    return torch.cat(logprobs), torch.cat(entropy)
