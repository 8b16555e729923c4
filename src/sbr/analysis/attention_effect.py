"""What the answer loses when the visual tokens that the model attends to most are painted over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sbr.analysis.attention_records import Effect
from sbr.config.attention import AttentionConfig
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import completion_logprobs
from sbr.model.painting import merged_patches, painted
from sbr.types import Prompt

PASS_TOKENS = 4096
"""Tokens of one pass over several painted prompts; a longer prompt has a pass of its own."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote up to its answer letter, and how likely each token was.

    `ids` and `logprobs` have one entry a token, the letter's last; `think` are the numbers of the reasoning's tokens.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    think: range

    def changes(self, after: Sequence[float]) -> tuple[float, float | None]:
        """Of the letter and, summed, of the reasoning, when the tokens have the log-probabilities `after`."""
        differences = [later - before for before, later in zip(self.logprobs, after, strict=True)]
        reasoning = sum(differences[token] for token in self.think) if self.think else None
        return round(differences[-1], 6), None if reasoning is None else round(reasoning, 6)


def effects(
    model: VisionLanguageModel,
    prompt: Prompt,
    written: Written,
    maps: Mapping[str, np.ndarray],
    sinks: Collection[int],
    config: AttentionConfig,
    seed: int,
) -> tuple[Effect, ...]:
    """What painting over does to the last token of `written`, and to its reasoning.

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
    choices = list({_choice(order, size) for order in [*random_R, *ranked.values()] for size in sizes.values()})
    changes = dict(zip(choices, map(written.changes, _logprobs(model, prompt, written.ids, choices)), strict=True))
    found: list[Effect] = []
    for span, order in ranked.items():
        for fraction, size in sizes.items():
            top, reasoning_top = changes[_choice(order, size)]
            random = [changes[_choice(drawn, size)] for drawn in random_R]
            reasoning = tuple(change for _, change in random if change is not None)
            found.append(
                Effect(span, fraction, size, top, tuple(change for change, _ in random), reasoning_top, reasoning)
            )
    return tuple(found)


def _choice(order: np.ndarray, size: int) -> tuple[int, ...]:
    return tuple(sorted(order[:size].tolist()))


@torch.no_grad()
def _logprobs(
    model: VisionLanguageModel, prompt: Prompt, ids: Sequence[int], choices: Sequence[Sequence[int]]
) -> Iterator[list[float]]:
    """Log-probabilities of the tokens `ids` with each choice of visual tokens painted over."""
    merged = merged_patches(model)
    at_once = max(1, PASS_TOKENS // (len(prompt) + len(ids)))
    for start in range(0, len(choices), at_once):
        prompts = [painted(prompt, tokens, merged) for tokens in choices[start : start + at_once]]
        yield from completion_logprobs(model, prompts, [[ids]] * len(prompts)).logprobs_BL.tolist()
