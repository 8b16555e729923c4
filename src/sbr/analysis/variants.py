"""The same answer after other reasoning: the model's own, none, its first half, that of another question.

A response is taken apart only when it has the asked form up to its letter: <think>reasoning</think><answer>letter, with
nothing but blanks elsewhere.  The reasoning is exchanged; all the rest up to the letter stays as the model wrote it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sbr.eval.records import RecordKey, record_key
from sbr.reward.answer import answer_span
from sbr.reward.consistency import named_options
from sbr.types import EvalRecord

NO_ANSWER = "no answer"
OTHER_FORM = "another form than <think>...</think><answer>..."
NO_LETTER = "the answer does not begin with its letter"
SPECIAL = "a special token in the response"
ELSEWHERE = "the model was asked behind a server"
"""Whose weights are not here."""

_FORM = re.compile(r"(\s*<think>)((?:(?!</?think>).)*)(</think>\s*<answer>\s*)", re.DOTALL)
LOOKED_AT = 50
"""Other answers among which one is looked for whose reasoning does not name the answer."""

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Parts:
    """Example: "<think> so B</think><answer>B</answer>" -> Parts("<think>", " so B", "</think><answer>")."""

    head: str
    reasoning: str
    """As written, with the blanks around it."""
    tail: str
    """Up to the letter, which is not part of it."""

    def after(self, reasoning: str) -> str:
        """All that stands before the letter when the model has reasoned so."""
        return self.head + reasoning + self.tail


def parts_of(record: EvalRecord, special_tokens: Sequence[str] = ()) -> Parts | str:
    """The response taken apart, or why that cannot be done: one of the constants above.

    A text with one of `special_tokens` would be tokenised as something that the model did not write.
    """
    if record.extracted is None:
        return NO_ANSWER
    if any(token in record.response for token in special_tokens):
        return SPECIAL
    span = answer_span(record.response)
    if span is None or not record.response.startswith(record.extracted, span[0]):
        return NO_LETTER
    if (match := _FORM.fullmatch(record.response, 0, span[0])) is None:
        return OTHER_FORM
    return Parts(match[1], match[2], match[3])


def first_half(reasoning: str) -> str:
    """The first half of the words (of an odd number the smaller one), with the blanks around the whole.

    >>> first_half(" the goal is tea . maybe boil water ")
    ' the goal is tea '
    """
    words = list(_WORD.finditer(reasoning))
    if not words:
        return reasoning
    kept = words[: len(words) // 2]
    middle = reasoning[words[0].start() : kept[-1].end()] if kept else ""
    return reasoning[: words[0].start()] + middle + reasoning[words[-1].end() :]


@dataclass(frozen=True, slots=True)
class Donor:
    """Whose reasoning takes the place of another's.  Example: Donor("1000231", " the goal is ...", False, False)."""

    sample_id: str
    reasoning: str
    same_video: bool
    names_answer: bool
    """The reasoning names the very option that was chosen without it."""


def donors(records: Sequence[EvalRecord], special_tokens: Sequence[str] = ()) -> dict[RecordKey, Donor]:
    """For every response that can be taken apart the reasoning of another question, where there is one.

    Given by the answers of one level with the same sample index and rotation, whose reasoning is not empty, in the
    order of sha256(level, 0, sample_id), in a circle.  Taken is the first one behind the question that is about another
    video and does not name the chosen option: after that, an answer that follows from its reasoning should change.  If
    there is none among the next `LOOKED_AT`, the first of another video; if there is none at all, the first.  So it
    depends on nothing but the evaluation, and every reasoning is used about once.
    """
    circles: dict[tuple[str, int, int], list[tuple[EvalRecord, str]]] = {}
    for record in records:
        if isinstance(parts := parts_of(record, special_tokens), Parts):
            place = (record.level, record.sample_index, record.rotation)
            circles.setdefault(place, []).append((record, parts.reasoning))
    found: dict[RecordKey, Donor] = {}
    for circle in circles.values():
        circle.sort(key=lambda pair: _digest(pair[0]))
        for at, (record, _) in enumerate(circle):
            places = ((at + step) % len(circle) for step in range(1, len(circle)))
            if donor := _donor(record, (circle[place] for place in places if circle[place][1].strip())):
                found[record_key(record)] = donor
    return found


def _donor(record: EvalRecord, others: Iterable[tuple[EvalRecord, str]]) -> Donor | None:
    """Of those that have a reasoning, in order; None when nothing is left."""
    first: Donor | None = None
    first_elsewhere: Donor | None = None
    for step, (other, reasoning) in enumerate(others):
        same_video = record.video_id is not None and other.video_id == record.video_id
        if same_video and first is not None:
            continue
        names_answer = record.extracted in named_options(reasoning, record.options)
        first = first or Donor(other.sample_id, reasoning, same_video, names_answer)
        if same_video:
            continue
        donor = Donor(other.sample_id, reasoning, False, names_answer)
        first_elsewhere = first_elsewhere or donor
        if not names_answer:
            return donor
        if step >= LOOKED_AT:
            break
    return first_elsewhere or first


def _digest(record: EvalRecord) -> bytes:
    return hashlib.sha256(f"{record.level}\0{record.sample_id}".encode()).digest()
