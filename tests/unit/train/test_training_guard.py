"""The rule of the guard: its p-values against scipy's, their correction, false alarms and power by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sbr.eval.stats import mcnemar_exact
from sbr.train.guard import Look, discordant, fewest_questions, judge, p_worse

ALPHA = 0.05
LOOKS = 15


def look(step: int, *right: int) -> Look:
    return Look(step, tuple(bool(each) for each in right))


def counted(step: int, lost: int, won: int, of: int = 100) -> tuple[Look, Look]:
    """A look, and one after `step` that has lost and won so many of `of` questions."""
    before = Look(0, (True,) * lost + (False,) * (of - lost))
    return before, Look(step, (False,) * lost + (True,) * won + (False,) * (of - lost - won))


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (0, 5), (7, 7), (20, 8), (8, 20), (60, 30)])
def test_p_is_the_one_sided_exact_test_on_the_discordant_pairs(lost, won):
    before, now = counted(10, lost, won)
    assert discordant(before, now) == (lost, won)
    expected = stats.binomtest(won, lost + won, 0.5, alternative="less").pvalue if lost + won else 1.0
    assert p_worse(before, now) == pytest.approx(expected, rel=1e-12)
    if won < lost:
        assert min(1.0, 2 * p_worse(before, now)) == pytest.approx(mcnemar_exact(lost, won), rel=1e-12)


def test_looks_at_different_numbers_of_questions_are_no_pair():
    with pytest.raises(ValueError, match="zip"):
        p_worse(look(0, 1, 1), look(10, 1))


def test_the_correction_counts_the_planned_looks_and_all_pairs_of_them():
    start, worse = counted(20, 30, 10)
    found = judge([start, start, worse], planned=15)
    # The second look is no better than the start, so the best one is the start.
    assert (found.best, found.p_best, found.better) == (start, 1.0, start)
    assert found.p_start == pytest.approx(2 * 15 * stats.binom.cdf(10, 40, 0.5), rel=1e-12)
    best = Look(10, (True,) * 60 + (False,) * 40)
    found = judge([start, best, worse], planned=15)
    lost, won = discordant(best, worse)
    assert found.best is best
    assert found.p_best == pytest.approx(2 * (15 * 14 / 2) * stats.binom.cdf(won, lost + won, 0.5), rel=1e-12)
    assert found.p_value == min(found.p_start, found.p_best)
    assert found.better is best
    assert judge([start, best, worse], planned=1).p_best == pytest.approx(found.p_best * 2 / (15 * 14))  # two were made


def test_the_best_look_is_the_first_of_the_best_and_never_the_last():
    looks = [look(0, 0, 0, 1), look(10, 1, 1, 0), look(20, 0, 1, 1), look(30, 1, 1, 1)]
    assert judge(looks, 3).best is looks[1]
    assert judge(looks[:2], 3).best is looks[0]


@pytest.mark.parametrize(("planned", "alpha"), [(1, 0.05), (15, 0.05), (15, 0.001), (200, 0.05), (1, 0.5)])
def test_fewest_questions_is_where_losing_all_is_an_alarm(planned, alpha):
    fewest = fewest_questions(planned, alpha)
    for questions, alarms in ((fewest, True), (fewest - 1, False)):
        lost_all = [Look(0, (True,) * questions), Look(10, (False,) * questions)]
        assert (judge(lost_all, planned).p_value <= alpha) is alarms


def histories(curve, questions: int, wrong: float, churn: float, runs: int, seed: int):
    """Runs whose true accuracy at each look is that of `curve`.  From look to look each question keeps its place in the
    order of difficulty, or gets another one (`churn`); `wrong` of the golds are flipped, of four letters."""
    draw = np.random.default_rng(seed)
    for _ in range(runs):
        place_Q, flipped_Q = draw.random(questions), draw.random(questions) < wrong
        looks = []
        for number, accuracy in enumerate(curve):
            place_Q = np.where(draw.random(questions) < churn, draw.random(questions), place_Q)
            right_Q = place_Q < accuracy
            hit_Q = ~right_Q & (draw.random(questions) < 1 / 3)
            looks.append(Look(10 * number, tuple(np.where(flipped_Q, hit_Q, right_Q).tolist())))
        yield looks


def alarms(looks: list[Look]) -> bool:
    return any(judge(looks[:end], LOOKS).p_value <= ALPHA for end in range(2, LOOKS + 2))


@pytest.mark.parametrize("wrong", [0.0, 0.4])
@pytest.mark.parametrize("churn", [0.2, 1.0])
def test_a_run_that_stays_as_good_seldom_raises_an_alarm(wrong, churn):
    runs = list(histories([0.4] * (LOOKS + 1), 80, wrong, churn, 150, 0))
    count = sum(map(alarms, runs))
    assert stats.binomtest(count, 150, ALPHA, alternative="greater").pvalue > 0.01
    # Each test alone, at the same level and without a correction, would raise one in most such runs.
    naive = sum(
        any(p_worse(max(looks[:end], key=lambda each: each.right), looks[end]) <= ALPHA for end in range(1, LOOKS + 1))
        for looks in runs
    )
    assert naive > 75


def test_a_large_fall_is_found_with_right_golds_and_with_wrong_ones():
    falls = [0.8, 0.7, 0.6, 0.5, 0.4] + [0.3] * (LOOKS - 4)
    assert sum(map(alarms, histories(falls, 80, 0.0, 0.2, 30, 1))) == 30
    assert sum(map(alarms, histories(falls, 300, 0.4, 0.2, 30, 2))) >= 28


def test_a_run_that_learns_and_then_falls_back_is_compared_with_its_best():
    learns_and_falls = [*np.linspace(0.4, 0.8, 8), *np.linspace(0.7, 0.4, 8)]
    for looks in histories(learns_and_falls, 300, 0.0, 0.2, 10, 3):
        found = judge(looks, LOOKS)
        assert found.p_best <= ALPHA < found.p_start
        assert found.better is found.best
