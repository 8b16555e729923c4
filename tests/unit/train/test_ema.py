"""The averaged reference: its arithmetic, that it moves, that float32 is needed for it, and what is kept on disk."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sbr.algo.algorithm import AverageSchedule
from sbr.errors import CheckpointError
from sbr.train.ema import FILE, AverageWeights


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
        with average() as inside:
            assert not any(module.training for module in inside.modules())
            for name in average.averages:
                assert torch.equal(dict(inside.named_parameters())[name].to(dtype), start[name])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert [module.training for module in model.modules()] == [True, True, False]
    for name, weight in model.named_parameters():
        assert torch.equal(weight, own[name])
        assert weight.dtype == dtype
        assert weight.data_ptr() == places[name]  # the optimizer's own tensor


def test_saved_and_loaded_bit_for_bit(tmp_path):
    model = make_model()
    average = AverageWeights(model, AverageSchedule(decay=0.7, every=1))
    train(model, 0.3)
    average.after_step(1)
    average.save(tmp_path)
    other = AverageWeights(model, AverageSchedule(decay=0.7, every=1))
    assert not torch.equal(other.averages["0.weight"], average.averages["0.weight"])
    other.load(tmp_path)
    for name, value in average.averages.items():
        assert torch.equal(other.averages[name], value)


def test_what_cannot_be_loaded_is_named(tmp_path):
    average = AverageWeights(make_model(), AverageSchedule(decay=0.7, every=1))
    folder = tmp_path / "checkpoint-4" / "training_state"
    folder.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"average\.safetensors is damaged.*remove .*checkpoint-4 "):
        average.load(folder)
    (folder / FILE).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"average\.safetensors is damaged"):
        average.load(folder)
    AverageWeights(nn.Linear(2, 2), AverageSchedule(0.7, 1)).save(folder)  # pyright: ignore[reportArgumentType]
    with pytest.raises(CheckpointError, match="averages other weights"):
        average.load(folder)
