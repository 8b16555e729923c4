"""Advantages against numpy's own mean and standard deviation, and hand-computed groups."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.algo.advantages import group_advantages, silent_groups
from sbr.errors import ConfigError


def test_one_right_answer_in_four_by_hand():
    # mean 1/4; squared deviations 9/16 + 3 * 1/16 = 3/4; divided by 3: variance 1/4, std 1/2.
    advantages_PG = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64), eps=1e-4)
    expected = [0.75 / 0.5001, *[-0.25 / 0.5001] * 3]
    assert advantages_PG[0].tolist() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 9).flatmap(
        lambda group: st.lists(st.lists(st.floats(-3, 3), min_size=group, max_size=group), min_size=1, max_size=4)
    ),
    st.sampled_from([1e-4, 1e-2, 1.0]),
)
def test_equals_numpy(rewards, eps):
    rewards_PG = np.array(rewards)
    std_P1 = rewards_PG.std(axis=1, ddof=1, keepdims=True)
    expected = (rewards_PG - rewards_PG.mean(axis=1, keepdims=True)) / (std_P1 + eps)
    np.testing.assert_allclose(group_advantages(torch.tensor(rewards_PG), eps).numpy(), expected, atol=1e-10)


def test_groups_do_not_mix_and_equal_rewards_give_zero():
    rewards_PG = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    advantages_PG = group_advantages(rewards_PG, eps=1e-4)
    assert advantages_PG[0].tolist() == [0.0, 0.0, 0.0]
    assert advantages_PG[2].tolist() == [0.0, 0.0, 0.0]
    assert advantages_PG[1, 1].item() == pytest.approx((2 / 3) / (math.sqrt(1 / 3) + 1e-4), rel=1e-6)
    assert silent_groups(rewards_PG).tolist() == [True, False, True]


def test_equal_rewards_give_exactly_zero_although_their_mean_is_rounded():
    rewards_PG = torch.full((1, 8), 0.1)
    assert (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).any()  # why the exact zero needs care
    assert not group_advantages(rewards_PG, eps=1e-4).any()


def test_a_group_of_one_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"rollout\.group_size is 1.*no signal.*2 or more"):
        group_advantages(torch.zeros(4, 1), eps=1e-4)
