"""How the miniature's models reason: their language is small enough to be read by a rule.

A reasoning is grounded in form when it begins with "i see"; it names one action as the next ("next is X", "maybe X").
An answer is consistent when the option it chose is the action its reasoning named.  Real models need a judge for this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sbr.types import LETTERS, EvalRecord

_NAMED = re.compile(r"(?:next is|maybe) (?P<action>[a-z ]+?)\s*</think>")


@dataclass(frozen=True, slots=True)
class ReasoningShares:
    """Shares of the answers of one level.  Example: ("L1", 300, 0.32, 0.76, 0.99, 0.94)."""

    level: str
    answers: int
    looks: float
    """Begin with "i see"."""
    right_when_looking: float | None
    """Correct answers among those; None when none looks."""
    offered: float
    """Name an action that is among the options."""
    consistent: float
    """Choose the very option that the reasoning names."""


def named_action(response: str) -> str | None:
    """
    >>> named_action("<think> i see cut fish . next is put fish</think><answer>B</answer>")
    'put fish'
    """
    match = _NAMED.search(response)
    return match["action"] if match else None


def looks(response: str) -> bool:
    return response.removeprefix("<think>").lstrip().startswith("i see")


def is_consistent(record: EvalRecord) -> bool:
    letters = dict(zip(LETTERS, record.options, strict=False))
    return record.extracted in letters and letters[record.extracted] == named_action(record.response)


def reasoning_shares(records: Sequence[EvalRecord]) -> tuple[ReasoningShares, ...]:
    """One entry a level, in the order of their names."""
    shares = []
    for level in sorted({record.level for record in records}):
        part = [record for record in records if record.level == level]
        looking = [record for record in part if looks(record.response)]
        shares.append(
            ReasoningShares(
                level=level,
                answers=len(part),
                looks=len(looking) / len(part),
                right_when_looking=sum(r.correct for r in looking) / len(looking) if looking else None,
                offered=sum(named_action(r.response) in r.options for r in part) / len(part),
                consistent=sum(map(is_consistent, part)) / len(part),
            )
        )
    return tuple(shares)
