"""How likely a model finds each letter on offer at the place of the answer's letter, after several beginnings of one
answer, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sbr.model.families import VisionLanguageModel
from sbr.model.next_tokens import next_token_logprobs
from sbr.types import Prompt


@dataclass(frozen=True, slots=True)
class LetterProbabilities:
    """Example: LetterProbabilities((0.02, 0.9, 0.03, 0.05), share=0.998)."""

    letters: tuple[float, ...]
    """Of each letter on offer; they add up to 1."""
    share: float
    """What the letters hold of the whole probability, before that."""


def letter_probabilities(
    model: VisionLanguageModel, tokenizer: Any, prompt: Prompt, beginnings: Sequence[str], letters: str
) -> list[LetterProbabilities]:
    """For each of `beginnings`, texts of the assistant's turn that end where the letter stands.

    Every beginning is tokenised with each letter behind it, as the tokeniser writes such a text.  What all these have
    in common is the context; the probability of a letter is that of the tokens behind the context (one token, as a
    rule; a token may hold the letter and what stands before it).  Equal beginnings are computed once.
    """
    texts = [beginning + letter for beginning in dict.fromkeys(beginnings) for letter in letters]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else iter(())
    continuations: dict[tuple[int, ...], int] = {}
    places: list[tuple[int, int]] = []
    tokens: list[int] = []
    ranges: dict[str, list[range]] = {}
    for beginning in dict.fromkeys(beginnings):
        sequences = [tuple(next(encoded)) for _ in letters]
        context = _common(sequences)
        for sequence in sequences:
            number = continuations.setdefault(sequence[:-1], len(continuations))
            ranges.setdefault(beginning, []).append(range(len(places), len(places) + len(sequence) - context))
            places += [(number, at) for at in range(context, len(sequence))]
            tokens += sequence[context:]
    if not places:
        return []
    logprobs_NV = next_token_logprobs(model, prompt, list(continuations), places)
    logprobs = logprobs_NV[range(len(tokens)), tokens].double().tolist()
    found = {
        beginning: _normalised([math.fsum(logprobs[own.start : own.stop]) for own in of_letters])
        for beginning, of_letters in ranges.items()
    }
    return [found[beginning] for beginning in beginnings]


def _common(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with, at most all but the last of each."""
    shortest = min(map(len, sequences)) - 1
    return next((at for at in range(shortest) if len({sequence[at] for sequence in sequences}) > 1), shortest)


def _normalised(logprobs: Sequence[float]) -> LetterProbabilities:
    largest = max(logprobs)
    weights = [math.exp(logprob - largest) for logprob in logprobs]
    total = math.fsum(weights)
    return LetterProbabilities(tuple(weight / total for weight in weights), share=total * math.exp(largest))
