"""How likely a model finds the answer of a completion, given the prompt and the reasoning before it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sbr.reward.answer import answer_span
from sbr.train.ema import AverageWeights
from sbr.train.trainer import Policy
from sbr.types import Completion, RolloutGroup


def answer_likelihoods(
    policy: Policy, average: AverageWeights, tokenizer: Any, groups: Sequence[RolloutGroup], size: int
) -> Tensor:
    """Return likelihood_PG (float32, CPU): exp(mean log-probability of the answer tokens), 0 without an answer.

    Under the averaged weights of `policy`, at temperature 1.  It reads `size` prompts at a time, each once for its
    whole group.
    """
    likelihoods: list[list[float]] = []
    for start in range(0, len(groups), size):
        part = groups[start : start + size]
        prompts = [group.prompt for group in part]
        completions_PG = [[completion.token_ids for completion in group.completions] for group in part]
        with torch.no_grad(), average():
            logprobs_BL = policy(prompts, completions_PG, 1.0).logprobs_BL.float().cpu()
        rows = iter(logprobs_BL)
        likelihoods += [
            [
                _likelihood(row_L, answer_tokens(tokenizer, completion))
                for completion, row_L in zip(group.completions, rows, strict=False)
            ]
            for group in part
        ]
    return torch.tensor(likelihoods)


def answer_tokens(tokenizer: Any, completion: Completion) -> range:
    """Return which tokens hold the characters inside <answer>...</answer>, without the blanks around them.

    Found by decoding beginnings of the completion, because tokens need not end where the answer does: a token that
    holds the last ">" of the tag and the letter belongs to the answer.  Empty without an answer.
    """
    span = answer_span(completion.text)
    if span is None or span[0] == span[1]:
        return range(0)

    def decoded(length: int) -> str:
        return tokenizer.decode(completion.token_ids[:length], skip_special_tokens=True)

    def tokens_for(characters: int) -> int:
        """How many tokens hold so many complete characters from the start."""
        wanted = completion.text[:characters]
        lengths = range(len(completion.token_ids) + 1)
        return bisect_left(lengths, True, key=lambda length: decoded(length)[:characters] == wanted)

    before = tokens_for(span[0])
    shared = len(decoded(before)) > span[0]  # the last of them begins the answer too
    return range(before - shared, tokens_for(span[1]))


def _likelihood(logprobs_L: Tensor, tokens: range) -> float:
    return float(logprobs_L[tokens.start : tokens.stop].mean().exp()) if tokens else 0.0
