"""Which texts name an action."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbr.analysis.mentions import names_action, same_action

WORDS = st.text("abcdefgh", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "narration"),
    [
        ("i see take cup , pour oil . next is stir pan", "pour oil"),
        ("The person has POURED the Oil into the pan.", "pour oil"),
        ("First, the onions were chopped.", "cut onion"),
        ("She took the cup and left.", "pick up cup"),
        ("After slicing the leek, he washes it.", "slice leek"),
        ("The tap has been turned on.", "turn on tap"),
        ("He puts the cereal bag into the cereal box", "put cereal bag into cereal box"),
        ("...", "  "),
    ],
)
def test_named(text, narration):
    assert names_action(text, narration)


@pytest.mark.parametrize(
    ("text", "narration"),
    [
        ("the goal is fry fish . maybe put fish", "pour oil"),
        ("The pan stands on the stove. Then the oil is poured.", "pour oil into pan"),  # two sentences
        ("I see a spoilage", "pour oil"),
        ("the oil is there", "pour oil"),  # no verb
        ("He pours water.", "pour oil"),
        ("", "open tap"),
    ],
)
def test_not_named(text, narration):
    assert not names_action(text, narration)


def test_a_narration_inside_a_longer_word_is_not_named():
    assert not names_action("reopen taproom", "open tap")


@given(st.text(max_size=80), st.text(max_size=40))
def test_no_text_is_too_strange(text, narration):
    assert names_action(text, narration) in (True, False)
    assert same_action(text, narration) == same_action(narration, text)


@given(st.lists(WORDS, min_size=1, max_size=3), st.text("abc .,\n", max_size=30), st.text("abc .,\n", max_size=30))
def test_a_text_that_holds_the_narration_names_it(words, before, after):
    narration = " ".join(words)
    assert names_action(f"{before} {narration.upper()} {after}", narration)


def test_actions_are_the_same_when_in_doubt():
    assert same_action("take cup", "picks up the cups from shelf")
    assert not same_action("turn on tap", "turn off tap")
    assert not same_action("take cup", "take bowl")
