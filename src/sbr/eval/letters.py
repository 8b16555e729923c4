"""What the letters and the order of the options do to the answers: letter bias, and the rotations of `sbr eval
--shuffle-options`.

A model that favours a letter is right more often when that letter is the right one.  The tests are Pearson's chi-square
tests (scipy.stats.chisquare, chi2_contingency) on one answer a question, the first one in the benchmark's own order,
since answers to one question are alike.  With expected counts below about 5 their p-values are rough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from sbr.eval.records import correct_by_question
from sbr.eval.stats import Interval, clustered_wilson_interval
from sbr.types import LETTERS, EvalRecord


@dataclass(frozen=True, slots=True)
class LetterCount:
    """One letter in all answers of a level.  Example: LetterCount("A", gold=610, chosen=1018, right=340)."""

    letter: str
    gold: int
    """Answers to questions whose right letter it is."""
    chosen: int
    right: int
    """Answers that chose it and were right."""


@dataclass(frozen=True, slots=True)
class LetterBias:
    """How a level's answers are spread over the letters that its questions offer."""

    letters: tuple[LetterCount, ...]
    unread: int
    """Answers in which the rule found no letter."""
    p_chosen: float | None
    """That letters are chosen as often as they are right (goodness of fit; letters that are never right are left out).
    None with fewer than two letters to test."""
    p_accuracy: float | None
    """That accuracy does not depend on the right letter (independence).  None when all or no answers are right, or one
    letter is always right."""


@dataclass(frozen=True, slots=True)
class Rotations:
    """What rotating the options of every question does to a level.

    Example, two questions of two options, greedy: right, right and right, wrong are by_rotation (1.0, 0.5), consistent
    0.5; the mean over all rotations, 0.75, is the accuracy of the level.
    """

    by_rotation: tuple[float, ...]
    """Accuracy with the options rotated by 0, 1, ... places, of the questions that have so many options."""
    consistent: float
    """Consistent accuracy: share of questions right in every rotation (with k samples: mean of the k shares)."""
    interval: Interval
    """95 %, of `consistent`, clustered by question."""
    same_letter: float
    """Share of questions answered with one and the same letter in every rotation: the letter was chosen, no option."""


def letter_bias(records: Sequence[EvalRecord]) -> LetterBias:
    """Letters of any non-empty set of records."""
    offered = LETTERS[: max(len(record.options) for record in records)]
    gold = Counter(record.gold for record in records)
    chosen = Counter(record.extracted for record in records)
    right = Counter(record.gold for record in records if record.correct)
    first = [record for record in records if record.sample_index == 0 and record.rotation == 0]
    return LetterBias(
        letters=tuple(LetterCount(letter, gold[letter], chosen[letter], right[letter]) for letter in offered),
        unread=chosen[None],
        p_chosen=_p_chosen(first),
        p_accuracy=_p_accuracy(first),
    )


def rotations_of(records: Sequence[EvalRecord]) -> Rotations | None:
    """Figures of the rotations; None when the options were not rotated.

    Raises DataError when a question lacks some of its rotations or samples.
    """
    if all(record.rotation == 0 for record in records):
        return None
    correct_QRK = correct_by_question(records)
    most = max(map(len, correct_QRK))
    by_rotation = [[_mean(rows[r]) for rows in correct_QRK if r < len(rows)] for r in range(most)]
    samples = len(correct_QRK[0][0])
    consistent_Q = [_mean([all(column) for column in zip(*rows, strict=True)]) for rows in correct_QRK]
    letters: dict[tuple[str, str, int], set[str | None]] = {}
    for record in records:
        letters.setdefault((record.level, record.sample_id, record.sample_index), set()).add(record.extracted)
    return Rotations(
        by_rotation=tuple(map(_mean, by_rotation)),
        consistent=_mean(consistent_Q),
        interval=clustered_wilson_interval(consistent_Q, samples),
        same_letter=_mean([len(chosen) == 1 and None not in chosen for chosen in letters.values()]),
    )


def _p_chosen(records: Sequence[EvalRecord]) -> float | None:
    gold = Counter(record.gold for record in records)
    chosen = [sum(record.extracted == letter for record in records) for letter in gold]
    if len(gold) < 2 or sum(chosen) == 0:
        return None
    expected = [count * sum(chosen) / sum(gold.values()) for count in gold.values()]
    return float(stats.chisquare(chosen, expected).pvalue)


def _p_accuracy(records: Sequence[EvalRecord]) -> float | None:
    gold = Counter(record.gold for record in records)
    right = Counter(record.gold for record in records if record.correct)
    if len(gold) < 2 or sum(right.values()) in (0, len(records)):
        return None
    table = [[right[letter], count - right[letter]] for letter, count in gold.items()]
    return float(stats.chi2_contingency(table, correction=False).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
