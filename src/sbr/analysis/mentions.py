"""Does a text name an action?  Read by words, without a model, in favour of "yes" when in doubt.

An action is named where its narration stands word for word, or where one sentence has its verb, in any form or as a
near synonym (`sbr.data.build.meaning`), and all its things: "the oil has been poured" names "pour oil".  So a
paraphrase ("the pan is greased") is missed, and two actions in one sentence may name a third ("puts pan, cuts fish").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sbr.data.build.meaning import meaning_of, stem
from sbr.reward.answer import as_words, text_key
from sbr.reward.consistency import sentences_of

_WORD = re.compile(r"[a-z0-9]+")
_PAST = {
    past: verb
    for verb, pasts in {
        **{"take": "took taken", "get": "got gotten", "throw": "threw thrown", "hold": "held", "hang": "hung"},
        **{"break": "broke broken", "shake": "shook shaken", "grind": "ground", "sweep": "swept", "drink": "drank"},
        **{"draw": "drew drawn", "tear": "tore torn", "bring": "brought", "give": "gave given", "write": "wrote"},
        **{"leave": "left", "lay": "laid", "bend": "bent", "feed": "fed", "stick": "stuck", "wind": "wound"},
    }.items()
    for past in pasts.split()
}
"""Past forms that no ending tells."""


def names_action(text: str, narration: str) -> bool:
    """A narration without words is named by any text.

    >>> names_action("The person has poured the oil. So heat the pan.", "pour oil")
    True
    >>> names_action("I see the pan. The oil is next.", "pour oil")
    False
    """
    narrated = text_key(narration)
    if narrated and as_words(narrated).search(" ".join(text.casefold().split())):
        return True
    action = meaning_of(narration)
    if not action.verb:
        return True
    verb = action.verb.partition("-")[0]  # "turn-on": where "on" stands is free
    for sentence in sentences_of(text.casefold()):
        words = _WORD.findall(sentence)
        if action.things <= set(map(stem, words)) and any(verb in _verbs(word) for word in words):
            return True
    return False


def same_action(one: str, other: str) -> bool:
    """Whether two narrations name one action: the same verb, and the things of one are among those of the other.

    >>> same_action("take cup", "pick up the cup from shelf")
    True
    """
    return meaning_of(one).same(meaning_of(other))


def _verbs(word: str) -> Iterator[str]:
    """What the verb could be that `word` is a form of."""
    forms = [word, _PAST.get(word, "")]
    if word.endswith("ed"):
        forms += [word[:-1], word[:-2], word[:-3]]
    for form in forms:
        if verb := meaning_of(form).verb:
            yield verb
