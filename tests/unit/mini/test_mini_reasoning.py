"""Reading the reasoning of the miniature's models."""

from __future__ import annotations

import pytest

from sbr.mini.reasoning import is_consistent, named_action, reasoning_shares
from sbr.types import EvalRecord

OPTIONS = ("cut fish", "put fish", "open box", "heat pan")


def record(response: str, extracted: str | None, gold: str = "B", level: str = "L1") -> EvalRecord:
    return EvalRecord(
        sample_id=response,
        level=level,
        domain="Daily life",
        sample_index=0,
        prompt="",
        options=OPTIONS,
        response=response,
        extracted=extracted,
        gold=gold,
        correct=extracted == gold,
        rule="official",
        completion_tokens=1,
        truncated=False,
        seconds=0.0,
    )


SEEN = "<think> i see cut fish . next is {}</think><answer>{}</answer>"
GUESS = "<think> the goal is fry fish . maybe {}</think><answer>{}</answer>"


@pytest.mark.parametrize(
    ("response", "named"),
    [
        (SEEN.format("put fish", "B"), "put fish"),
        (GUESS.format("open box", "C"), "open box"),
        ("<answer>B</answer>", None),
        ("<think> next is </think>", None),
    ],
)
def test_the_action_named_as_next(response: str, named: str | None) -> None:
    assert named_action(response) == named


def test_consistent_is_the_letter_of_the_named_action() -> None:
    assert is_consistent(record(SEEN.format("put fish", "B"), "B"))
    assert not is_consistent(record(SEEN.format("put fish", "A"), "A"))
    assert not is_consistent(record(SEEN.format("wash cup", "B"), "B"))
    assert not is_consistent(record("put fish", None))


def test_shares_per_level() -> None:
    records = [
        record(SEEN.format("put fish", "B"), "B"),
        record(SEEN.format("wash cup", "B"), "B"),
        record(SEEN.format("cut fish", "A"), "A"),
        record(GUESS.format("heat pan", "C"), "C"),
        record(GUESS.format("heat pan", "D"), "D", level="L3"),
    ]
    first, second = reasoning_shares(records)
    assert (first.level, first.answers, first.looks, first.offered, first.consistent) == ("L1", 4, 0.75, 0.75, 0.5)
    assert first.right_when_looking == pytest.approx(2 / 3)
    assert (second.level, second.looks, second.right_when_looking, second.consistent) == ("L3", 0.0, None, 1.0)
