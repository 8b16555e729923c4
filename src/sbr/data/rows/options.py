"""Which four options a training row offers, and in which order: a pure function of (seed, sample_id, texts).

The official code draws with Python's global generator while it walks over the file, so its options change with the
order of the rows.  Here every row has its own draw: the order of the rows, `limit` and the number of processes do not
matter.  Ranking by a cryptographic hash is the same on every machine and for every version of Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sbr.types import LETTERS

NEGATIVES = 3
"""Wrong options of a question (official code: grpo.py, `random.sample(negative_answers, 3)`)."""


def reads_as(text: str) -> str:
    """Two options with the same value read the same: letter case and blanks do not make a different answer."""
    return " ".join(text.split()).casefold()


def distinct_negatives(answer: str, negatives: Sequence[str]) -> tuple[str, ...]:
    """The negatives that may be drawn: the first of each text, without those that read as the answer.

    >>> distinct_negatives("open tap", ["close tap", "Open tap", "take cup", "close tap"])
    ('close tap', 'take cup')
    """
    first: dict[str, str] = {}
    for text in negatives:
        first.setdefault(reads_as(text), text)
    first.pop(reads_as(answer), None)
    return tuple(first.values())


def draw_options(seed: int, sample_id: str, answer: str, negatives: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Three negatives and the answer in random order, and the letter of the answer.

    The draw depends on the texts of the distinct negatives, not on their order.  `negatives` must hold three distinct
    ones (the readers of sbr.data.rows.annotations make sure of it); fewer are a ValueError.
    """
    candidates = distinct_negatives(answer, negatives)
    if len(candidates) < NEGATIVES:
        raise ValueError(f"sample {sample_id}: {len(candidates)} distinct negatives, {NEGATIVES} needed")
    drawn = sorted(candidates, key=lambda text: _rank(seed, sample_id, "draw", text))[:NEGATIVES]
    options = tuple(sorted([*drawn, answer], key=lambda text: _rank(seed, sample_id, "order", text)))
    return options, LETTERS[options.index(answer)]


def _rank(seed: int, sample_id: str, purpose: str, text: str) -> bytes:
    return hashlib.sha256("\0".join((str(seed), sample_id, purpose, text)).encode()).digest()
