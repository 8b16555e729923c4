"""Is a run worse than it was?  Exact paired tests on the same validation questions, corrected for every look.

A look asks the same questions each time.  Of two looks only the questions count that one of them has right and the
other has not: if the model has not become worse, each of them is won with a probability of at least one half (one-sided
exact McNemar test).  With K looks after the first one, two kinds of comparison are made:

    each look with the start                    K comparisons
    each look with the best look before it      one of K (K - 1) / 2 pairs: which is the best is only seen afterwards

Half of alpha goes to each kind and is divided by its number (Bonferroni), so that any alarm in a run that never gets
worse has at most the probability alpha, however looks depend on each other.  What is returned are the p-values times
these numbers.

Golds may be wrong.  Where that does not depend on the answers, the accuracy against them falls when the true one does,
only less: the test stays valid, and sees less (docs/algorithms.md has figures).
Questions count as independent; of several about one video a few less do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True, slots=True)
class Look:
    """The answers after a step to the Q questions.  Example: Look(20, (True, False, True))."""

    step: int
    right_Q: tuple[bool, ...]

    @property
    def right(self) -> int:
        return sum(self.right_Q)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last of several looks says.  p-values are corrected; at or below alpha they are an alarm."""

    now: Look
    start: Look
    best: Look
    """The one with the most right answers before this one, the first of several; may be the start."""
    p_start: float
    p_best: float
    """1 where the best one is the start."""

    @property
    def p_value(self) -> float:
        return min(self.p_start, self.p_best)

    @property
    def better(self) -> Look:
        """What the smaller p-value compares with."""
        return self.best if self.p_best < self.p_start else self.start


def p_worse(before: Look, now: Look) -> float:
    """One-sided exact p-value of "`now` is not worse than `before`".  ValueError for looks of unequal length.

    >>> p_worse(Look(0, (True, True, True, False)), Look(10, (False, False, False, True)))  # 3 lost, 1 won
    0.3125
    """
    lost, won = discordant(before, now)
    return float(stats.binom.cdf(won, lost + won, 0.5)) if lost + won else 1.0


def discordant(before: Look, now: Look) -> tuple[int, int]:
    """Questions that only `before` has right, and those that only `now` has."""
    pairs = list(zip(before.right_Q, now.right_Q, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def judge(looks: Sequence[Look], planned: int) -> Verdict:
    """The verdict on the last of two or more `looks`, of which `planned` follow the first one in the whole run."""
    start, *earlier, now = looks
    planned = max(planned, len(looks) - 1)
    best = max([start, *earlier], key=lambda look: look.right)
    p_start = min(1.0, 2 * planned * p_worse(start, now))
    p_best = 1.0 if best is start else min(1.0, planned * (planned - 1) * p_worse(best, now))
    return Verdict(now, start, best, p_start, p_best)


def fewest_questions(planned: int, alpha: float) -> int:
    """With fewer questions not even losing all of them is an alarm.

    >>> fewest_questions(15, 0.05)
    10
    """
    return next(lost for lost in range(1, 100) if 2 * planned * 0.5**lost <= alpha)
