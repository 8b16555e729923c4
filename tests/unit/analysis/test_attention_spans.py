"""Which tokens are a span or a phrase; means and ratios of maps."""

from __future__ import annotations

import numpy as np
import pytest
from attention_cases import ANSWER, THINK, attention

from sbr.analysis.attention_spans import mean_map, phrase_tokens, relative_map, span_tokens, tokens_of
from sbr.reward.health import reasoning_span, reasoning_text


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 1, [0]), (2, 3, [0]), (3, 4, [1]), (2, 5, [0, 1]), (0, 9, [0, 1, 2, 3]), (5, 5, []), (9, 20, [])],
)
def test_tokens_that_hold_characters(first: int, last: int, expected: list[int]) -> None:
    """Tokens "abc", "de", "" and "fghi" and one that is no text, the end of turn."""
    assert list(span_tokens((0, 3, 5, 5, 9), "abcdefghi", first, last)) == expected


def test_spans_of_a_response() -> None:
    record = attention()
    assert list(tokens_of(record, "all")) == list(range(8))
    assert tuple(tokens_of(record, "think")) == THINK
    assert tuple(tokens_of(record, "answer")) == ANSWER


def test_a_response_without_answer_or_reasoning() -> None:
    assert list(tokens_of(attention(response="<think></think>no tags at all here...."), "answer")) == []
    assert list(tokens_of(attention(response="<think> </think>"), "think")) == []


@pytest.mark.parametrize(
    "response", ["<think> a\nb </think>x", "<think>open", "words <answer>B</answer>", "", "  ", "<think>a<answer>"]
)
def test_the_span_of_the_reasoning_is_its_text(response: str) -> None:
    first, last = reasoning_span(response)
    assert response[first:last] == reasoning_text(response) == response[first:last].strip()


def test_phrases_in_any_case_and_everywhere() -> None:
    record = attention(
        response="so open Tap then OPEN tap",
        tokens=("so ", "open", " Tap then ", "OPEN", " tap"),
        starts=(0, 3, 7, 17, 21),
        shares=((), ()),
        layers=(),
    )
    assert phrase_tokens(record, "Open tap") == [1, 2, 3, 4]
    assert phrase_tokens(record, "so") == [0]
    assert phrase_tokens(record, "close") == phrase_tokens(record, "") == []


def test_mean_and_relative_maps() -> None:
    maps = np.array([[0.1, 0.3], [0.3, 0.5], [0.9, 0.9]], dtype=np.float32)
    np.testing.assert_allclose(mean_map(maps, [0, 1]), [0.2, 0.4], rtol=1e-6)
    assert mean_map(maps, []) is None
    np.testing.assert_allclose(relative_map(np.array([0.2, 0.4, 0.0]), np.array([0.1, 0.8, 0.0])), [2.0, 0.5, 1.0])
    assert np.isfinite(relative_map(np.array([0.2]), np.array([0.0]))).all()
