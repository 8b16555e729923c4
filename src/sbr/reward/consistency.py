"""Consistency reward: does the reasoning end at the answer that is given?  Read by a rule, without a judge.

GRPO-CARE (arXiv 2506.16141) measures consistency with a language model as judge.  This rule knows only what can be read
off the text, and says so when it cannot tell:

1.  An option is named in the reasoning by its text, as whole words in any case, or as "option B", "answer is B", "(B)".
    A text inside a longer option's text does not count ("open tap" in "open tap slowly").
2.  An option that is ruled out is not named: before it, with at most three words and no other option between, stands
    "not", "n't", "cannot", "neither", "nor", "never", "no longer", "instead of", "rather than", "without" or "already".
3.  The conclusion is the option named in the last sentence that names any.
4.  The conclusion is the chosen option: 1.  Another one: 0, a contradiction.  No answer: 0, nothing follows.
5.  Neutral, 0.5: no option is named, that sentence names several, or the reasoning is no more than a letter
    (`sbr.reward.health`), which would make "<think>The answer is A</think>" the surest way to earn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sbr.reward.answer import as_words, text_key
from sbr.reward.health import health, reasoning_text
from sbr.types import LETTERS, Answer

NEUTRAL = 0.5

_RULED_OUT = re.compile(
    r"(?:\b(?:not|cannot|neither|nor|never|no longer|instead of|rather than|without|already)|n['\u2019]t)"
    r"(?:\s+[^\W_]+){0,3}\s*[\"'\u201c]?$"
)
_BY_LETTER = re.compile(
    r"\b(?:option|choice)\s+\(?([a-e])(?![\w'])|\(([a-e])\)"
    r"|\banswer(?: is)?:?\s+(?:([b-e])(?![\w'])|(a)(?=\s*(?:[.,:)]|$)))"  # "the answer is a cup" names nothing
)
_SENTENCE = re.compile(r"[.!?;]+(?:\s+|$)|\n+")


@dataclass(frozen=True, slots=True)
class Consistency:
    """Example: Consistency(0.0, "the reasoning names D, the answer is B")."""

    value: float
    """1 consistent, 0 not, 0.5 when the rule cannot tell."""
    reason: str


def consistency(response: str, answer: Answer, options: Sequence[str]) -> Consistency:
    """Compare what the reasoning of `response` names with the chosen letter; never raises on any text."""
    if answer.letter is None:
        return Consistency(0.0, "no answer")
    if health(response).echo:
        return Consistency(NEUTRAL, "the reasoning is empty or only a letter")
    sentences = [named_options(sentence, options) for sentence in sentences_of(reasoning_text(response))]
    conclusion = sorted(next((named for named in reversed(sentences) if named), ()))
    if not conclusion:
        return Consistency(NEUTRAL, "the reasoning names no option")
    if len(conclusion) > 1:
        return Consistency(NEUTRAL, f"the reasoning ends with {' and '.join(conclusion)}")
    if conclusion[0] == answer.letter:
        return Consistency(1.0, f"the reasoning names {answer.letter}")
    return Consistency(0.0, f"the reasoning names {conclusion[0]}, the answer is {answer.letter}")


def sentences_of(text: str) -> list[str]:
    """
    >>> sentences_of("I see a cup. So next is put cup!")
    ['I see a cup', 'So next is put cup']
    """
    return [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]


def named_options(sentence: str, options: Sequence[str]) -> frozenset[str]:
    """Letters of the options that `sentence` names and does not rule out.

    >>> sorted(named_options("so next is Close Tap, not take cup", ("open tap", "close tap", "take cup")))
    ['B']
    """
    offered = LETTERS[: len(options)]
    left = " ".join(sentence.casefold().split())
    found: list[tuple[str, int]] = []
    for letter, text in sorted(zip(offered, map(text_key, options), strict=False), key=lambda pair: -len(pair[1])):
        if text:
            found += [(letter, match.start()) for match in as_words(text).finditer(left)]
            # What is read is blanked, so that a shorter option is not found inside it.
            left = as_words(text).sub(lambda match: "_" * len(match[0]), left)
    found += [(str(match[match.lastindex or 0]).upper(), match.start()) for match in _BY_LETTER.finditer(left)]
    left = _BY_LETTER.sub(lambda match: "_" * len(match[0]), left)
    return frozenset(letter for letter, start in found if letter in offered and not _RULED_OUT.search(left[:start]))
