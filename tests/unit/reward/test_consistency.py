"""The rule of the consistency reward, case by case, each with the answer a careful reader would give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbr.reward.consistency import consistency, named_options
from sbr.types import Answer

OPTIONS = ("open tap", "close tap", "open tap slowly", "take cup")


def read(reasoning: str, letter: str | None) -> tuple[float, str]:
    found = consistency(f"<think>{reasoning}</think><answer>{letter}</answer>", Answer(letter, "official", ""), OPTIONS)
    return found.value, found.reason


@pytest.mark.parametrize(
    ("reasoning", "letter", "value"),
    [
        ("The sink is full, so the next action is to close tap.", "B", 1.0),
        ("The sink is full, so the next action is to CLOSE  TAP", "B", 1.0),
        ("The sink is full, so the next action is to close tap.", "A", 0.0),
        ("The hands are empty; the best choice is option D.", "D", 1.0),
        ("The hands are empty, so the answer is (D)", "A", 0.0),
        ("The hands are empty, the answer is a cup", "A", 0.5),
        ("The hands are empty, thus the answer is a.", "A", 1.0),
        ("Choice a helps nobody here", "A", 1.0),
        # A longer option is not also the shorter one inside it.
        ("It must not splash, so open tap slowly.", "C", 1.0),
        ("It must not splash, so open tap slowly.", "A", 0.0),
        # Considered first, concluded last.
        ("One could take cup or open tap. The water runs already. So close tap.", "B", 1.0),
        ("One could take cup or open tap. The water runs already. So close tap.", "D", 0.0),
        ("First open tap. Then close tap, then wait for a while.", "B", 1.0),
        # Ruled out is not named.
        ("The next action is close tap, not open tap.", "B", 1.0),
        ("I would take cup instead of open tap.", "D", 1.0),
        ("The person did already open tap and will take cup", "D", 1.0),
        ("You shouldn't open tap. Hence take cup", "A", 0.0),
        ("It should be take cup. It cannot be close tap.", "D", 1.0),
        ("Take cup; neither open tap nor close tap fits", "D", 1.0),
        ("It is not option B but option D", "D", 1.0),
        ("It is not option B but option D", "B", 0.0),
        # The rule cannot tell.
        ("The sink is full of water.", "B", 0.5),
        ("It is either close tap or take cup.", "B", 0.5),
        ("The person does not open tap.", "B", 0.5),
        ("The answer is B.", "B", 0.5),
        ("B", "B", 0.5),
        ("", "B", 0.5),
        # Parts of words are no mention; a lone letter is none either.
        ("Reopen tapestry with B in mind.", "B", 0.5),
        ("take cup", None, 0.0),
    ],
)
def test_rule(reasoning, letter, value):
    assert read(reasoning, letter)[0] == value


def test_reasons_say_what_was_read():
    assert read("so close tap", "A")[1] == "the reasoning names B, the answer is A"
    assert read("close tap or take cup", "B")[1] == "the reasoning ends with B and D"
    assert read("water", "B")[1] == "the reasoning names no option"
    assert read("A", "A")[1] == "the reasoning is empty or only a letter"
    assert read("take cup", None)[1] == "no answer"


def test_reasoning_without_tags_is_what_stands_before_the_answer():
    answer = Answer("B", "official", "")
    assert consistency("so close tap <answer>B</answer>", answer, OPTIONS).value == 1.0
    assert consistency("<answer>B. close tap</answer>", answer, OPTIONS).value == 0.5


def test_letters_beyond_the_options_and_empty_options_name_nothing():
    assert named_options("option e or (d)", OPTIONS[:3]) == frozenset()
    assert named_options("anything", ("", "x")) == frozenset()


@given(st.text(), st.sampled_from(["A", "E", None]), st.lists(st.text(), max_size=5))
def test_never_raises(response, letter, options):
    assert consistency(response, Answer(letter, "official", ""), options).value in (0.0, 0.5, 1.0)
