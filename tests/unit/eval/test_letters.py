"""Letters and rotations of records, against counts by hand and the chi-square formula."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from sbr.errors import DataError
from sbr.eval.letters import LetterCount, letter_bias, rotations_of
from sbr.eval.stats import clustered_wilson_interval, wilson_interval
from sbr.eval.summary import levels_of
from sbr.types import LETTERS, EvalRecord

TEXTS = ("open tap", "close tap", "take cup", "wash cup", "dry cup")


def record(question: int, gold: str, chosen: str | None, rotation: int = 0, index: int = 0, options=4) -> EvalRecord:
    return EvalRecord(
        sample_id=str(question),
        level="L1",
        domain="Daily life",
        sample_index=index,
        prompt="p",
        options=TEXTS[:options],
        response="r",
        extracted=chosen,
        gold=gold,
        correct=chosen == gold,
        rule="official",
        completion_tokens=1,
        truncated=False,
        seconds=0.1,
        rotation=rotation,
    )


def answers(pairs: str) -> list[EvalRecord]:
    """ "AB A-": gold A, chosen B; gold A, nothing read."""
    return [record(i, pair[0], None if pair[1] == "-" else pair[1]) for i, pair in enumerate(pairs.split())]


def chi_square(observed: np.ndarray, expected: np.ndarray, degrees: int) -> float:
    return float(stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), degrees))


def test_counts_and_tests_of_letters():
    records = answers("AA AA AB BA BB CA CC DA DA D-" + " AA" * 10)
    bias = letter_bias(records)
    assert bias.letters == (
        LetterCount("A", 13, 16, 12),
        LetterCount("B", 2, 2, 1),
        LetterCount("C", 2, 1, 1),
        LetterCount("D", 3, 0, 0),
    )
    assert bias.unread == 1
    gold, chosen, right = np.array([13, 2, 2, 3]), np.array([16, 2, 1, 0]), np.array([12, 1, 1, 0])
    assert bias.p_chosen == pytest.approx(chi_square(chosen, gold * 19 / 20, 3))
    expected = np.stack([gold * 14 / 20, gold * 6 / 20])
    assert bias.p_accuracy == pytest.approx(chi_square(np.stack([right, gold - right]), expected, 3))


def test_letters_without_a_test():
    assert letter_bias(answers("AA AA")).p_chosen is None, "only one letter is right"
    all_right = letter_bias(answers("AA BB"))
    assert (all_right.p_chosen, all_right.p_accuracy) == (1.0, None)
    unread = letter_bias(answers("A- B-"))
    assert (unread.p_chosen, unread.p_accuracy, unread.unread) == (None, None, 2)
    # C and D are never right, so choosing D is left out of the test of the others.
    assert letter_bias(answers("AA BB AD")).p_chosen == pytest.approx(chi_square(np.ones(2), np.array([4, 2]) / 3, 1))


def test_only_the_first_answer_to_a_question_is_tested_and_all_are_counted():
    first = answers("AA AB BB BA CC")
    more = [record(i, "A", "A", index=1) for i in range(5)]
    assert letter_bias(first + more).p_chosen == letter_bias(first).p_chosen
    assert letter_bias(first + more).letters[0].chosen == 7


def rotated(question: int, chosen: str, options: int = 4) -> list[EvalRecord]:
    """Gold is B, so rotated by 0, 1, ... it is B, A, D, C; one chosen letter a rotation."""
    golds = [LETTERS[(1 - r) % options] for r in range(options)]
    return [record(question, golds[r], chosen[r], r, options=options) for r in range(options)]


def test_rotations():
    records = rotated(0, "BADC") + rotated(1, "BBBB") + rotated(2, "BADD") + rotated(3, "AAAA")
    found = rotations_of(records)
    assert found is not None
    assert found.by_rotation == (3 / 4, 3 / 4, 2 / 4, 1 / 4)
    assert (found.consistent, found.same_letter) == (1 / 4, 2 / 4)
    assert found.interval == wilson_interval(1, 4)
    (level,) = levels_of(records)
    assert level.rotations == found
    assert (level.overall.questions, level.overall.samples, level.overall.correct) == (4, 1, 9)
    shares = [1.0, 1 / 4, 3 / 4, 1 / 4]
    assert level.overall.accuracy == sum(shares) / 4 == np.mean(found.by_rotation)
    assert level.overall.interval == clustered_wilson_interval(shares, 4)
    assert rotations_of([one for one in records if one.rotation == 0]) is None


def test_rotations_of_questions_with_unlike_numbers_of_options():
    found = rotations_of(rotated(0, "BA", options=2) + rotated(1, "BDDD"))
    assert found is not None
    assert found.by_rotation == (1.0, 1 / 2, 1.0, 0.0)
    assert found.consistent == 1 / 2
    (level,) = levels_of(rotated(0, "BA", options=2) + rotated(1, "BDDD"))
    assert level.overall.accuracy == (1 + 2 / 4) / 2, "every question counts once"


def test_consistency_of_several_samples_is_the_mean_of_each():
    golds = "BADC"
    right = [record(0, golds[r], golds[r], r, index) for r, index in product(range(4), range(2))]
    right[-1] = record(0, "C", "A", 3, 1)
    found = rotations_of(right)
    assert found is not None
    assert (found.consistent, found.by_rotation) == (1 / 2, (1, 1, 1, 1 / 2))


def test_missing_rotations_are_an_error():
    with pytest.raises(DataError, match="question 1 of L1 has 3 answers, expected 4 rotations with the samples 0 to 0"):
        rotations_of(rotated(0, "BADC") + rotated(1, "BADC")[:3])
