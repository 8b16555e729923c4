"""Which option a reasoning ends with, against hand-made texts."""

import pytest

from sbr.reward.consistency import named_option

OPTIONS = ("open tap", "close tap", "take cup (red)", "open tap slowly")


@pytest.mark.parametrize(
    ("reasoning", "letter"),
    [
        ("i see open tap . next is close tap", "B"),
        ("close tap was done, so Open  TAP.", "A"),
        ("first open tap, then open tap slowly", "D"),  # the longer text, not its beginning
        ("now take cup (red)", "C"),  # signs of regular expressions are plain text
        ("reopen taps", None),  # whole words only
        ("Option B fits; option A does not come before it, so the answer is D", "D"),
        ("I would choose (c)", "C"),
        ("answer: B", "B"),
        ("the answer is E", None),  # not offered
        ("option Before", None),
        ("a cup of tea", None),
        ("", None),
    ],
)
def test_the_last_option_named_counts(reasoning: str, letter: str | None) -> None:
    assert named_option(f"<think>{reasoning}</think><answer>A</answer>", OPTIONS) == letter


def test_the_answer_itself_is_no_reasoning() -> None:
    assert named_option("<think>hm</think><answer>B. close tap</answer>", OPTIONS) is None
    assert named_option("so close tap <answer>A</answer>", OPTIONS) == "B"  # without tags all before the answer
