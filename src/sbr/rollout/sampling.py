"""How the next token is drawn: pure functions of logits and uniform numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sbr.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn.  Temperature 0 is greedy.  Example: Sampling(1.0, 1.0, 0, 256)."""

    temperature: float = 1.0
    top_p: float = 1.0
    """Keep the smallest set of likeliest tokens that holds at least this probability."""
    top_k: int = 0
    """Keep so many of the likeliest tokens; 0 keeps all."""
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, expected {expected}"
            for name, value, expected, good in (
                ("temperature", self.temperature, "at least 0 (0 is greedy)", self.temperature >= 0),
                ("top_p", self.top_p, "more than 0 and at most 1", 0 < self.top_p <= 1),
                ("top_k", self.top_k, "at least 0 (0 keeps all)", self.top_k >= 0),
                ("max_new_tokens", self.max_new_tokens, "at least 1", self.max_new_tokens >= 1),
            )
            if not good
        ]
        if problems:
            raise ConfigError("; ".join(problems))


def uniforms(seeds_P: Sequence[int], group_size: int, steps: int) -> torch.Tensor:
    """Numbers in [0, 1), float64 (P, G, steps).

    Entry (p, g, t) depends on seeds_P[p], g and t only: not on the other prompts, the group size or the steps.
    """
    draws = [np.random.default_rng([seed, g]).random(steps) for seed in seeds_P for g in range(group_size)]
    return torch.from_numpy(np.stack(draws)).view(len(seeds_P), group_size, steps)


def next_tokens(logits_BV: torch.Tensor, uniforms_B: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Token ids (B,).  A logit of -inf is never drawn.  Order of filters: temperature, top_k, top_p."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    logits_BV = logits_BV.double() / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        smallest_B1 = logits_BV.topk(sampling.top_k).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < smallest_B1, float("-inf"))
    if sampling.top_p < 1:
        logits_BV = keep_top_p(logits_BV, sampling.top_p)
    return inverse_cdf(logits_BV.softmax(-1), uniforms_B)


def keep_top_p(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """-inf outside the smallest set of likeliest tokens whose probability reaches `top_p` (never empty)."""
    descending_BV, order_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    probabilities_BV = descending_BV.softmax(-1)
    before_BV = probabilities_BV.cumsum(-1) - probabilities_BV
    dropped_BV = torch.zeros_like(order_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV >= top_p)
    return logits_BV.masked_fill(dropped_BV, float("-inf"))


def inverse_cdf(probabilities_BV: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """The first token whose cumulated probability exceeds u; a token of probability 0 is never drawn.

    Probabilities need not sum to one.  A row of NaN gives the last token; the caller sees its log-probability.
    """
    cdf_BV = probabilities_BV.cumsum(-1)
    total_B = cdf_BV[:, -1]
    # u < 1, but u * total may round up to total, which no entry exceeds.
    target_B = torch.minimum(uniforms_B * total_B, torch.nextafter(total_B, torch.zeros_like(total_B)))
    tokens_B = torch.searchsorted(cdf_BV, target_B[:, None], right=True).squeeze(-1)
    return tokens_B.clamp_max(cdf_BV.shape[-1] - 1)
