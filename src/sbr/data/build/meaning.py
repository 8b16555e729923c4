"""When two narrations name the same action: "put down plate", "puts the plates"; but not "turn on tap", "turn off tap".

A narration becomes its verb and the set of its other words, without number, tense, articles and most prepositions.
There is no parser behind it: narrations are short and begin with their verb.  Two options that are compared wrongly as
the same cost one wrong option; two that are wrongly told apart make a question with two right answers.  So the rules
are chosen to say "the same" when in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"[a-z0-9]+")
_GOES_ON = frozenset(["continue", "continues", "continuing", "still", "keeps", "again"])
"""Say that the action before is not over: "continue stirring food" is "stir food"."""
_WEARER = frozenset(("c", "cc"))
"""How Ego4D's narrators name the person who wears the camera."""
_FILLERS = frozenset(
    (
        "a", "an", "the", "some", "more", "another", "other", "one", "both", "all", "of", "and", "then",
        "again", "her", "his", "their", "its", "my", "to", "in", "into", "inside", "on", "onto", "upon", "at",
        "from", "out", "with", "for", "by", "over", "under", "around", "up", "down", "back", "away", "against",
        "using", "through", "near", "beside",
    )
)  # fmt: skip
_AFTER_TURN = ("on", "up", "down")
"""Words that make opposites of "turn" (and "switch", which is the same verb); "off" is kept after every verb."""
_SAME_VERB = {
    verb: group[0]
    for group in (
        "take pick get grab fetch collect",
        "put place set drop lay insert",
        "wash rinse",
        "cut chop slice dice",
        "stir mix",
        "close shut",
        "throw discard bin",
        "turn switch power",
    )
    for group in (group.split(),)
    for verb in group
}
_OTHER_PERSON = re.compile(
    r"(?:(?:a|an|the|another|other)\s+)?"
    r"(?:man|woman|men|women|lady|person|people|boy|girl|guy|child|kid|individual|friend|o)\b(?:\s+[a-z]\b)?\s+\S"
)
_UNSURE = re.compile(r"\bunsure\b")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is done, and to what.  Example: Meaning("tak", {"plat"}), stems of "takes the plates"."""

    verb: str
    things: frozenset[str]

    def same(self, other: Meaning) -> bool:
        """The same verb, and the things of one are among those of the other: "take cup" and "take cup from shelf"."""
        return self.verb == other.verb and (self.things <= other.things or other.things <= self.things)


def meaning_of(narration: str) -> Meaning:
    """
    >>> meaning_of("Puts down the plates").same(meaning_of("put plate"))
    True
    >>> meaning_of("continue slicing onion").same(meaning_of("cut onion with knife"))
    True
    >>> meaning_of("turn on tap").same(meaning_of("turn off tap"))
    False
    """
    words = [word for word in _WORD.findall(narration.casefold()) if word not in _GOES_ON]
    while words and (words[0] in _WEARER or words[0] in _FILLERS):
        words = words[1:]
    if not words:
        return Meaning("", frozenset())
    verb = _VERBS.get(stem(words[0]), stem(words[0]))
    for word in words[1:]:
        if word == "off" or (verb == "turn" and word in _AFTER_TURN):
            verb = f"{verb}-{word}"
            break
    things = frozenset(stem(word) for word in words[1:] if word not in _FILLERS and word != "off")
    return Meaning(verb, things)


def is_other_person(narration: str) -> bool:
    """Whether somebody else than the wearer of the camera does it: "A man y opens the can", "O picks a cup"."""
    return _OTHER_PERSON.match(narration.strip().casefold()) is not None


def is_unsure(narration: str) -> bool:
    """Whether the narrator could not see what it was ("Picks #unsure")."""
    return _UNSURE.search(narration.casefold()) is not None


def same_action(first: Iterable[Meaning], second: Iterable[Meaning]) -> bool:
    """Whether two actions, each read in the same ways in the same order, are the same by any reading."""
    return any(a.same(b) for a, b in zip(first, second, strict=True))


def stem(word: str) -> str:
    """The same for all forms of a word, though not always a word itself.

    >>> stem("slices"), stem("slicing"), stem("knives"), stem("knife"), stem("cutting")
    ('slic', 'slic', 'knif', 'knif', 'cut')
    """
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith("ves"):
        word = word[:-3] + "f"
    elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes", "oes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]
    elif len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
        if word[-1] == word[-2] and word[-1] not in "ls":
            word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


_VERBS = {stem(verb): stem(first) for verb, first in _SAME_VERB.items()}
