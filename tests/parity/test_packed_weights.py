"""Decoding on oneDNN's weight layout against the ordinary layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sbr.model import packed_weights as module
from sbr.model.packed_weights import packed_weights, packing_helps
from sbr.rollout import generate as native
from sbr.rollout.sampling import Sampling

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize("rows", [1, 7, 64])
@torch.no_grad()
def test_products_are_those_of_the_ordinary_layer(rows):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(100, 130), nn.Linear(130, 33, bias=False))
    inputs = torch.randn(rows, 1, 100)
    expected = layers(inputs)
    with packed_weights(layers):
        found = layers(inputs)
        layers[0].weight.zero_()  # the copy is of the weights as they were
        assert torch.equal(layers(inputs), found)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(layers(inputs), layers[1](layers[0].bias.expand(rows, 1, -1)))  # ordinary again


@needs_onednn
def test_an_error_inside_leaves_ordinary_layers():
    layer = nn.Linear(8, 8)
    with pytest.raises(RuntimeError, match="stop"), packed_weights(layer):
        raise RuntimeError("stop")
    assert "forward" not in layer.__dict__


@needs_onednn
def test_decoding_uses_it_and_draws_the_same_tokens(ours, tokenizer, prompts, monkeypatch):
    sampling = Sampling(max_new_tokens=16)
    packed = []
    pack = module._packed_forward
    monkeypatch.setattr(module, "_packed_forward", lambda layer: packed.append(layer) or pack(layer))
    found = native.generate(ours, tokenizer, prompts, 3, sampling, [1, 2, 3])
    assert len(packed) == sum(isinstance(module, nn.Linear) for module in ours.modules())
    monkeypatch.setattr(native, "packing_helps", lambda model: False)
    packed.clear()
    expected = native.generate(ours, tokenizer, prompts, 3, sampling, [1, 2, 3])
    assert not packed
    for before, after in zip(sum(expected, ()), sum(found, ()), strict=True):
        assert after.token_ids == before.token_ids
        assert after.logprobs == pytest.approx(before.logprobs, abs=1e-5)


def test_only_float32_on_a_cpu_is_packed(ours):
    assert packing_helps(ours) == torch.backends.mkldnn.is_available()
    with torch.autocast("cpu", torch.bfloat16):
        assert not packing_helps(ours)
    assert not packing_helps(ours.bfloat16())
    assert not packing_helps(ours.to("meta"))
