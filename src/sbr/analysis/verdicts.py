"""Does the reasoning entail the answer?  What each way says; why so: docs/analysis.md, section "Consistency"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sbr.analysis.consistency_records import ConsistencyRecord
from sbr.types import LETTERS

Way = Literal["rule", "likelihood", "judge"]
WAYS: tuple[Way, ...] = ("rule", "likelihood", "judge")
Change = Literal["cut", "empty", "other"]
CHANGES: tuple[Change, ...] = ("cut", "empty", "other")
"""What was done to the reasoning: cut to its first half, removed, swapped for another question's."""

ODDS = 2.0
"""By this factor the odds of the answer must differ before the likelihood says anything."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Example: Verdict(0.0, "the reasoning names D, the answer is B")."""

    value: float | None
    """1 the reasoning entails the answer, 0 it does not, 0.5 it can be read and says neither; None: there was nothing
    to read, and `reason` says why, or is empty when this way was not gone."""
    reason: str

    @property
    def given(self) -> bool:
        """This way was gone, whatever came of it."""
        return self.value is not None or bool(self.reason)


def verdict(record: ConsistencyRecord, way: Way) -> Verdict:
    """What one way says about one answer that has a letter."""
    if way == "rule":
        several = record.rule_reason.startswith("the reasoning ends with")
        return Verdict(record.rule, "the reasoning ends with several options" if several else record.rule_reason)
    return _by_likelihood(record) if way == "likelihood" else _by_judge(record)


def _by_likelihood(record: ConsistencyRecord) -> Verdict:
    """1 when the own reasoning raises the odds of the answer by `ODDS` against both no reasoning and another
    question's, 0 when it lowers them so against both, else 0.5."""
    if record.answer is None or record.own is None or record.empty is None:
        return Verdict(None, record.likelihood_reason)
    if record.other is None:
        return Verdict(None, "no other reasoning in the level")
    place = LETTERS.index(record.answer)
    own = log_odds(record.own, place)
    gains = [own - log_odds(record.empty, place), own - log_odds(record.other, place)]
    if min(gains) >= math.log(ODDS):
        return Verdict(1.0, "the reasoning raises the odds of the answer")
    if max(gains) <= -math.log(ODDS):
        return Verdict(0.0, "the reasoning lowers the odds of the answer")
    return Verdict(0.5, "the reasoning makes no difference, or not against both")


def log_odds(probabilities: Sequence[float], place: int) -> float:
    """ln of p / (1 - p), with 1 - p summed from the others, which is exact where p is almost 1."""
    rest = math.fsum(p for at, p in enumerate(probabilities) if at != place)
    if probabilities[place] == 0 or rest == 0:
        return -math.inf if probabilities[place] == 0 else math.inf
    return math.log(probabilities[place]) - math.log(rest)


def _by_judge(record: ConsistencyRecord) -> Verdict:
    if record.judge is None:
        return Verdict(None, "")
    if record.judge == "unread":
        return Verdict(None, "the judge's reply cannot be read")
    if record.judge == record.answer:
        return Verdict(1.0, f"the judge reads {record.judge}")
    if record.judge == "none":
        return Verdict(0.0, "the judge reads no conclusion")
    return Verdict(0.0, f"the judge reads {record.judge}, the answer is {record.answer}")


def changed(record: ConsistencyRecord, change: Change) -> bool | None:
    """Is the most likely letter another one after the change?  None without likelihoods."""
    after: tuple[float, ...] | None = getattr(record, change)
    if record.own is None or after is None:
        return None
    return most_likely(after) != most_likely(record.own)


def most_likely(probabilities: Sequence[float]) -> int:
    """Place of the largest; of equals the first."""
    return max(range(len(probabilities)), key=lambda place: probabilities[place])
