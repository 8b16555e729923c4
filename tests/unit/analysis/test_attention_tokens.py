"""Responses as tokens, and where the answer letter stands."""

from __future__ import annotations

import pytest
from attention_cases import RESPONSE, answer

from sbr.analysis.attention_tokens import letter_place, response_tokens
from sbr.config.inputs import PromptConfig
from sbr.errors import DataError
from sbr.model.load import load_processor
from sbr.prompt.encode import PromptEncoder


@pytest.fixture(scope="module")
def encoder(tiny_model_dir) -> PromptEncoder:
    return PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())


@pytest.mark.parametrize(
    "response",
    [RESPONSE, "", " leading and  double blanks\n", "Tee \u2615 \U0001f375 caf\u00e9 \u65e5\u672c", "a\u0301 NFD"],
)
@pytest.mark.parametrize("truncated", [False, True])
def test_tokens_put_together_are_the_response(encoder, response, truncated) -> None:
    found = response_tokens(encoder, answer(response=response, truncated=truncated))
    end = () if truncated else ("<|im_end|>",)
    assert "".join(found.texts) == response + "".join(end)
    assert found.texts[len(found.texts) - len(end) :] == end
    ids = encoder.tokenizer(response, add_special_tokens=False)["input_ids"]
    assert list(found.ids) == ids + [encoder.end_of_turn] * len(end)
    for start, text in zip(found.starts, found.texts[: len(ids)], strict=False):
        assert response[start : start + len(text)] == text
    assert encoder.tokenizer.decode(found.ids, skip_special_tokens=True) == response


def test_a_response_with_a_special_token_is_refused(encoder) -> None:
    with pytest.raises(DataError, match=r"question 7 of L1: the response holds the special token <\|image_pad\|>"):
        response_tokens(encoder, answer("7", response="look <|image_pad|>"))


@pytest.mark.parametrize(
    ("content", "extracted", "place"),
    [
        ("B", "B", 0),
        (" B ", "B", 1),
        ("B. open tap", "B", 0),
        ("Both", "B", 0),  # the official rule
        ("(B)", "B", 1),
        ("The answer is B", "B", 14),
        ("option b", "B", 7),
        ("b", "B", 0),
        ("open tap", "B", None),  # the strict rule reads an option's text
        ("grab it", "B", None),
        ("B", None, None),
    ],
)
def test_the_letter_that_was_read(content: str, extracted: str | None, place: int | None) -> None:
    before = "<think>not B</think><answer>"
    found = letter_place(answer(response=f"{before}{content}</answer>", extracted=extracted))
    assert found == (None if place is None else len(before) + place)


def test_without_tags_there_is_no_letter() -> None:
    assert letter_place(answer(response="B", extracted=None)) is None
