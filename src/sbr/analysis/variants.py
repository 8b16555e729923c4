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
from sbr.types import EvalRecord

NO_ANSWER = "no answer"
OTHER_FORM = "another form than <think>...</think><answer>..."
NO_LETTER = "the answer does not begin with its letter"
SPECIAL = "a special token in the response"
ELSEWHERE = "the model was asked behind a server"
"""Whose weights are not here."""

_FORM = re.compile(r"(\s*<think>)((?:(?!</?think>).)*)(</think>\s*<answer>\s*)", re.DOTALL)
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


def parts_of(record: EvalRecord) -> Parts | str:
    """The response taken apart, or why that cannot be done: one of the constants above."""
    if record.extracted is None:
        return NO_ANSWER
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
    """Whose reasoning takes the place of another's.  Example: Donor("1000231", " the goal is ...", False)."""

    sample_id: str
    reasoning: str
    same_video: bool
    """It could not be avoided: there is no reasoning about another video in the level."""


def donors(records: Sequence[EvalRecord]) -> dict[RecordKey, Donor]:
    """For every response that can be taken apart the reasoning of another question, where there is one.

    Given by the answers of one level with the same sample index and rotation, whose reasoning is not empty, in the
    order of sha256(level, 0, sample_id), in a circle: the first one behind the question that is about another video.
    So it depends on nothing but the evaluation, and every reasoning is used about once.
    """
    circles: dict[tuple[str, int, int], list[tuple[EvalRecord, Parts]]] = {}
    for record in records:
        if isinstance(parts := parts_of(record), Parts):
            circles.setdefault((record.level, record.sample_index, record.rotation), []).append((record, parts))
    found: dict[RecordKey, Donor] = {}
    for circle in circles.values():
        circle.sort(key=lambda pair: _digest(pair[0]))
        for at, (record, _) in enumerate(circle):
            others = ((at + step) % len(circle) for step in range(1, len(circle)))
            if donor := _donor(record, (circle[place] for place in others)):
                found[record_key(record)] = donor
    return found


def _donor(record: EvalRecord, others: Iterable[tuple[EvalRecord, Parts]]) -> Donor | None:
    """The first of another video, or the first; None when no reasoning is left."""
    first: Donor | None = None
    for other, parts in others:
        if parts.reasoning.strip():
            same_video = record.video_id is not None and other.video_id == record.video_id
            first = first or Donor(other.sample_id, parts.reasoning, same_video)
            if not same_video:
                return Donor(other.sample_id, parts.reasoning, False)
    return first


def _digest(record: EvalRecord) -> bytes:
    return hashlib.sha256(f"{record.level}\0{record.sample_id}".encode()).digest()
