"""The bonus of GRPO-CARE against its description, completion by completion, and against the official arithmetic."""

import pytest
import torch

from sbr.algo.algorithm import AverageSchedule
from sbr.algo.grpo_care import care_bonus
from sbr.algo.select import select
from sbr.config.algo import GrpoAlgo, GrpoCareAlgo

SETTINGS = {"bonus": 0.5, "margin": 0.0, "cap": 0.95}


def by_hand(right: list[bool], likelihood: list[float], bonus: float, margin: float, cap: float) -> list[float]:
    capped = [min(value, cap) for value in likelihood]
    chosen = [value for value, good in zip(capped, right, strict=True) if good]
    if not chosen:
        return [0.0] * len(right)
    mean = sum(chosen) / len(chosen)
    return [bonus if good and value >= mean - margin else 0.0 for value, good in zip(capped, right, strict=True)]


@pytest.mark.parametrize("settings", [SETTINGS, {"bonus": 1.0, "margin": 0.1, "cap": 0.7}])
def test_equals_the_description(settings):
    generator = torch.Generator().manual_seed(0)
    likelihood_PG = torch.rand(50, 8, generator=generator)
    right_PG = torch.rand(50, 8, generator=generator) < 0.4
    right_PG[0] = False
    right_PG[1] = True
    found = care_bonus(right_PG, likelihood_PG, **settings)
    expected = [
        by_hand(*group, **settings) for group in zip(right_PG.tolist(), likelihood_PG.double().tolist(), strict=True)
    ]
    assert found.tolist() == expected
    assert 0 < (found > 0).sum() < right_PG.sum()


def test_wrong_answers_earn_nothing_however_likely_and_do_not_move_the_mean():
    right_PG = torch.tensor([[True, True, False, False]])
    assert care_bonus(right_PG, torch.tensor([[0.3, 0.5, 0.9, 0.94]]), **SETTINGS).tolist() == [[0.0, 0.5, 0.0, 0.0]]


def test_all_at_the_cap_pass_and_the_margin_lets_others_in():
    right_PG = torch.tensor([[True, True, True]])
    # Three times 0.95 over three is not 0.95 in floating point.
    assert care_bonus(right_PG, torch.tensor([[0.96, 0.99, 1.0]]), **SETTINGS).tolist() == [[0.5, 0.5, 0.5]]
    near = torch.tensor([[0.50, 0.52, 0.51]])
    assert care_bonus(right_PG, near, **SETTINGS).tolist() == [[0.0, 0.5, 0.5]]
    assert care_bonus(right_PG, near, **{**SETTINGS, "margin": 0.02}).tolist() == [[0.5, 0.5, 0.5]]


def test_no_right_answer_and_a_lone_one():
    likelihood_PG = torch.tensor([[0.1, 0.9], [0.1, 0.9]])
    right_PG = torch.tensor([[False, False], [True, False]])
    assert care_bonus(right_PG, likelihood_PG, **SETTINGS).tolist() == [[0.0, 0.0], [0.5, 0.0]]


def test_select_gives_the_published_setting():
    algorithm = select(GrpoCareAlgo(), 8)
    assert algorithm.average == AverageSchedule(decay=0.995, every=10)
    assert not algorithm.needs_reference
    assert algorithm.bonus is not None
    assert algorithm.bonus(torch.tensor([[True]]), torch.tensor([[1.0]])).tolist() == [[0.5]]
    assert select(GrpoAlgo(), 8).bonus is None
