"""The averaged reference: its arithmetic, that it moves, and that float32 is needed for it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sbr.algo.algorithm import AverageSchedule
from sbr.train.ema import AverageWeights


def make_model(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).to(dtype)
    model[1].bias.requires_grad_(False)
    return model


def train(model: Any, share: float) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + share)


def test_follows_the_policy_every_nth_step_as_in_numpy():
    model = make_model()
    average = AverageWeights(model, AverageSchedule(decay=0.9, every=2))
    expected = model[0].weight.detach().double().numpy().copy()
    for step in range(1, 7):
        train(model, 0.1)
        average.after_step(step)
        if step % 2 == 0:
            expected = 0.9 * expected + 0.1 * model[0].weight.detach().double().numpy()
        np.testing.assert_allclose(average.averages["0.weight"].numpy(), expected, rtol=1e-6)
    assert set(average.averages) == {"0.weight", "0.bias", "1.weight"}  # not the frozen one


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moves_by_steps_that_a_bfloat16_average_would_lose(dtype):
    """Weights 1 % from the start, the published decay, 150 updates: the length of GRPO-CARE's run."""
    model = make_model(dtype)
    average = AverageWeights(model, AverageSchedule(decay=0.995, every=1))
    start = average.averages["0.weight"].clone()
    in_16_bits = start.bfloat16()
    train(model, 0.01)
    target = model[0].weight.detach()
    for step in range(1, 151):
        average.after_step(step)
        in_16_bits.lerp_(target.bfloat16(), 1 - 0.995)
    kept = 0.995**150
    expected = kept * start.double() + (1 - kept) * target.double()
    torch.testing.assert_close(average.averages["0.weight"].double(), expected, rtol=1e-4, atol=1e-7)
    assert not torch.equal(average.averages["0.weight"], start)
    assert torch.equal(in_16_bits, start.bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_change_places_and_come_back(dtype):
    model = make_model(dtype).train()
    model[1].eval()  # as a frozen part may be
    average = AverageWeights(model, AverageSchedule(decay=0.5, every=1))
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    train(model, 0.5)
    own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    places = {name: weight.data_ptr() for name, weight in model.named_parameters()}

    def use() -> None:
        with average():
            assert not any(module.training for module in model.modules())
            for name in average.averages:
                assert torch.equal(dict(model.named_parameters())[name].to(dtype), start[name])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert [module.training for module in model.modules()] == [True, True, False]
    for name, weight in model.named_parameters():
        assert torch.equal(weight, own[name])
        assert weight.dtype == dtype
        assert weight.data_ptr() == places[name]  # the optimizer's own tensor
