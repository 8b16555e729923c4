"""What the answer loses when the visual tokens that the model attends to most are painted over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from sbr.analysis.attention_records import Effect
from sbr.config.attention import AttentionConfig
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import at_temperature
from sbr.model.painting import merged_patches, painted
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.types import Prompt

PASS_TOKENS = 4096
"""Tokens of one pass over several painted prompts; a longer prompt has a pass of its own."""


def effects(
    model: VisionLanguageModel,
    prompt: Prompt,
    written: Sequence[int],
    before: float,
    maps: Mapping[str, np.ndarray],
    sinks: Collection[int],
    config: AttentionConfig,
    seed: int,
) -> tuple[Effect, ...]:
    """Effects on the last token of `written`, whose log-probability with the whole picture is `before`.

    `maps` has the mean map (V,) of each span that ranks the visual tokens.  Random choices depend on `seed` alone and
    are the same for every span.  Fewer tokens of a ranking are the first of more, most attended or random alike.
    """
    count = len(next(iter(maps.values()), ()))
    pool = np.array([v for v in range(count) if not (config.without_sinks and v in sinks)], dtype=int)
    if not len(pool):
        return ()
    sizes = {fraction: max(1, round(fraction * len(pool))) for fraction in config.fractions}
    generator = np.random.default_rng(seed)
    random_R = [pool[generator.permutation(len(pool))] for _ in range(config.randoms)]
    ranked = {span: pool[np.argsort(-map_V[pool], kind="stable")] for span, map_V in maps.items()}
    choices = {_choice(order, size) for order in [*random_R, *ranked.values()] for size in sizes.values()}
    after = dict(zip(choices, _logprobs(model, prompt, written, list(choices)), strict=True))
    return tuple(
        Effect(
            span,
            fraction,
            size,
            top=round(after[_choice(order, size)] - before, 6),
            random=tuple(round(after[_choice(drawn, size)] - before, 6) for drawn in random_R),
        )
        for span, order in ranked.items()
        for fraction, size in sizes.items()
    )


def last_logprob(model: VisionLanguageModel, hidden: torch.Tensor, token: int) -> list[float]:
    """Of `token` after each of some last hidden states (n, width), over the whole vocabulary at temperature 1."""
    return at_temperature(model.lm_head(hidden), 1.0).log_softmax(-1)[:, token].tolist()


def _choice(order: np.ndarray, size: int) -> tuple[int, ...]:
    return tuple(sorted(order[:size].tolist()))


@torch.no_grad()
def _logprobs(
    model: VisionLanguageModel, prompt: Prompt, written: Sequence[int], choices: Sequence[Sequence[int]]
) -> list[float]:
    """Log-probability of the last token of `written` with each choice of visual tokens painted over."""
    merged = merged_patches(model)
    at_once = max(1, PASS_TOKENS // (len(prompt) + len(written)))
    found: list[float] = []
    for start in range(0, len(choices), at_once):
        prompts = [painted(prompt, tokens, merged) for tokens in choices[start : start + at_once]]
        row = pack(model, prompts, [[written]] * len(prompts))
        last = row.predicts[len(written) - 1 :: len(written)]
        found += last_logprob(model, packed_hidden_states(model, prompts, row)[last], written[-1])
    return found
