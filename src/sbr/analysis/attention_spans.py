"""Which generated tokens are the reasoning, the answer, or a phrase; and means of maps over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sbr.analysis.attention_records import AttentionRecord
from sbr.reward.answer import answer_span
from sbr.reward.health import reasoning_span

Span = Literal["all", "think", "answer"]
SPANS: tuple[Span, ...] = ("all", "think", "answer")
"""All generated tokens, those inside <think>, those inside <answer>; tags belong to the first only."""


def span_tokens(starts: Sequence[int], response: str, first: int, last: int) -> range:
    """The tokens that hold characters `first` to `last` (not included) of `response`.

    `starts` are the characters at which the tokens begin (`AttentionRecord.starts`).

    >>> span_tokens((0, 3, 5), "so now", 3, 5)
    range(1, 2)
    """
    ends = [*starts[1:], len(response)]
    inside = [n for n, (start, end) in enumerate(zip(starts, ends, strict=False)) if max(start, first) < min(end, last)]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def tokens_of(record: AttentionRecord, span: Span) -> range:
    """The generated tokens of a span; none when the response lacks it."""
    return span_in(record.starts, record.response, span)


def span_in(starts: Sequence[int], response: str, span: Span) -> range:
    """`tokens_of` for a response that is no record yet."""
    if span == "all":
        return range(len(starts))
    found = reasoning_span(response) if span == "think" else answer_span(response)
    return span_tokens(starts, response, *found) if found else range(0)


def phrase_tokens(record: AttentionRecord, phrase: str) -> list[int]:
    """The generated tokens of every place where `phrase` stands in the response, in any case, in order."""
    text, wanted = record.response.lower(), phrase.lower()
    if not wanted or len(text) != len(record.response):  # some capitals have two small letters
        text, wanted = record.response, phrase
    tokens: set[int] = set()
    place = text.find(wanted) if wanted else -1
    while place >= 0:
        tokens.update(span_tokens(record.starts, record.response, place, place + len(wanted)))
        place = text.find(wanted, place + 1)
    return sorted(tokens)


def mean_map(tokens_NV: np.ndarray, tokens: Sequence[int]) -> np.ndarray | None:
    """Mean map (V,) of some tokens; None of none."""
    return tokens_NV[list(tokens)].mean(0) if len(tokens) else None


def relative_map(map_V: np.ndarray, general_V: np.ndarray) -> np.ndarray:
    """`map_V` divided by the map under a general prompt (arXiv 2502.17422): above 1 is looked at more than there.

    A visual token that gets nothing under either is 1; what float16 has rounded to 0 counts as its smallest number.
    """
    least = np.finfo(np.float16).smallest_subnormal
    return np.maximum(map_V, least) / np.maximum(general_V, least)
