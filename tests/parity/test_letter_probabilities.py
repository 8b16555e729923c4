"""Probabilities of letters after several beginnings of an answer, against plain transformers on every whole text."""

from __future__ import annotations

import math

import pytest
import torch
from plain_transformers import logprobs

from sbr.analysis.letter_probabilities import letter_probabilities
from sbr.model import next_tokens
from sbr.model.next_tokens import next_token_logprobs

OWN = "<think> the goal is to make tea. So boil the kettle </think>\n<answer>"
BEGINNINGS = [
    OWN,
    "<think></think>\n<answer>",
    "<think> the goal is to </think>\n<answer>",
    "<think> I see somebody who would wash the red cup, I think. </think>\n<answer>",
    OWN,
    "<think>",
]


def reference(plain, tokenizer, prompt, beginning: str, letters: str) -> tuple[list[float], float]:
    """From log-probabilities of whole texts: their common beginning cancels, or is taken off."""
    texts = [tokenizer(beginning + letter, add_special_tokens=False)["input_ids"] for letter in letters]
    rows = [logprobs(plain, prompt, ids)[0].double() for ids in texts]
    common = 0
    while all(len(ids) > common + 1 for ids in texts) and len({ids[common] for ids in texts}) == 1:
        common += 1
    totals = [float(row.sum().exp()) / float(row[:common].sum().exp()) for row in rows]
    return [total / sum(totals) for total in totals], sum(totals)


@torch.no_grad()
@pytest.mark.parametrize(
    "letters",
    [
        "ABCD",
        "ABCDE",
        "AB",
        "rs",  # "<answer" is tokenised otherwise than "<answes", which has three tokens more
    ],
)
def test_equal_to_plain_transformers(ours, plain, tokenizer, prompts, letters) -> None:
    beginnings = [*BEGINNINGS, "<think> so </think><answe"] if letters == "rs" else BEGINNINGS
    lengths = {len(tokenizer(beginnings[-1] + letter)["input_ids"]) for letter in letters}
    assert (len(lengths) > 1) == (letters == "rs")
    largest = 0.0
    for prompt in prompts:
        found = letter_probabilities(ours, tokenizer, prompt, beginnings, letters)
        assert len(found) == len(beginnings)
        for beginning, probabilities in zip(beginnings, found, strict=True):
            expected, share = reference(plain, tokenizer, prompt, beginning, letters)
            assert math.fsum(probabilities.letters) == pytest.approx(1, abs=1e-12)
            largest = max([largest, abs(probabilities.share - share)])
            largest = max(largest, *(abs(a - b) for a, b in zip(probabilities.letters, expected, strict=True)))
            largest = max(
                largest,
                *(abs(math.log(a) - math.log(b)) for a, b in zip(probabilities.letters, expected, strict=True)),
            )
        assert found[0] == found[4]
    print(f"probabilities of {letters}: largest difference, of their logarithms too, {largest:.1e}")
    assert largest <= 1e-5


def test_equal_beginnings_are_computed_once_and_only_few_logits(ours, tokenizer, prompts, monkeypatch) -> None:
    rows, logits = [], []
    pack = next_tokens.pack
    monkeypatch.setattr(next_tokens, "pack", lambda *args: rows.append(args[2]) or pack(*args))
    ours.lm_head.register_forward_hook(lambda module, args, output: logits.append(output.shape[0]))
    letter_probabilities(ours, tokenizer, prompts[0], BEGINNINGS[:1] * 3 + BEGINNINGS[1:2], "ABCD")
    assert [len(group) for (group,) in rows] == [2]  # not three, and not one a letter
    assert logits == [8]
    assert letter_probabilities(ours, tokenizer, prompts[0], [], "ABCD") == []


@torch.no_grad()
def test_next_tokens_at_any_place(ours, plain, prompts) -> None:
    continuations = [[5, 9, 200], [], [7]]
    places = [(0, 0), (0, 3), (2, 1), (1, 0), (0, 1), (0, 3)]
    found = next_token_logprobs(ours.train(), prompts[0], continuations, places)
    assert ours.training
    for row, (g, t) in zip(found, places, strict=True):
        expected = [float(logprobs(plain, prompts[0], [*continuations[g][:t], token])[0][-1]) for token in (0, 17, 399)]
        assert row[[0, 17, 399]].tolist() == pytest.approx(expected, abs=1e-5)
    assert found.exp().sum(1).tolist() == pytest.approx([1] * len(places), abs=1e-5)
