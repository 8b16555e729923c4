"""Which narrations name the same action."""

from __future__ import annotations

import pytest

from sbr.data.build.meaning import is_other_person, is_unsure, meaning_of, stem

SAME = [
    ("put down plate", "put plate"),
    ("Puts the plates.", "place a plate"),
    ("take knife", "pick up the knives"),
    ("continue slicing onion", "slice onion"),
    ("still washing pan", "wash pan."),
    ("Cc closes the cardboard", "close cardboard"),
    ("take cup", "take cup from shelf"),
    ("Continues to mix the dough", "stirs dough"),
    ("grab glasses", "take glass"),
    ("Turns on the tap", "switch on tap"),
]
DIFFERENT = [
    ("turn on tap", "turn off tap"),
    ("open drawer", "close drawer"),
    ("take plate", "put plate"),
    ("take lid", "take off lid"),
    ("put lid on pan", "put lid in bin"),
    ("wash cup", "wash plate"),
    ("turn up heat", "turn down heat"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_same(a: str, b: str) -> None:
    assert meaning_of(a).same(meaning_of(b)) and meaning_of(b).same(meaning_of(a))


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different(a: str, b: str) -> None:
    assert not meaning_of(a).same(meaning_of(b)) and not meaning_of(b).same(meaning_of(a))


@pytest.mark.parametrize("text", ["", "  ", "#", "the", "c c", "on", "ing", "s"])
def test_odd_narrations_have_a_meaning(text: str) -> None:
    assert meaning_of(text).same(meaning_of(text))


def test_forms_of_a_word() -> None:
    for forms in (
        ("cut", "cuts", "cutting"),
        ("dish", "dishes"),
        ("berry", "berries"),
        ("potato", "potatoes"),
        ("slice", "slices", "slicing"),
        ("box", "boxes"),
        ("press", "presses", "pressing"),
    ):
        assert len({stem(form) for form in forms}) == 1, forms
    assert stem("glass") != stem("gla")
    assert stem("leaf") == stem("leaves") != stem("leave-taking")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("A man y opens the can", True),
        ("Person picks a piece of firewood", True),
        ("O picks a cup", True),
        ("The woman x walks", True),
        ("Picks a cup from a woman", False),
        ("Cc opens the can", False),
        ("Manages the pan", False),
        ("O", False),
    ],
)
def test_other_person(text: str, other: bool) -> None:
    assert is_other_person(text) is other


def test_unsure() -> None:
    assert is_unsure("Picks #unsure") and is_unsure("Puts Unsure in a bowl") and not is_unsure("measures flour")
