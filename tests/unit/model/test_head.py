"""The head with float32 logits, against float64 products of the same 16-bit factors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sbr.model import head
from sbr.model.head import WideHead, wide_product

SIXTEEN = [torch.bfloat16, torch.float16]


def wide(vocabulary: int, bias: bool = False, dtype: torch.dtype = torch.float32) -> WideHead:
    torch.manual_seed(0)
    return WideHead(48, vocabulary, bias=bias, dtype=dtype)


@pytest.mark.parametrize("dtype", SIXTEEN)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_logits_of_sixteen_bit_factors_are_not_rounded(dtype, autocast, bias, monkeypatch) -> None:
    monkeypatch.setattr(head, "CPU_ROWS", 7)  # several pieces of the weight, the last one smaller
    layer = wide(30, bias, torch.float32 if autocast else dtype)
    input = torch.randn(2, 5, 48, dtype=layer.weight.dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        found = layer(input)
    exact = input.to(dtype).double() @ layer.weight.to(dtype).double().T
    if layer.bias is not None:
        exact = exact + layer.bias.double()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast):
        assert torch.equal(layer(input), found)  # rollouts and training passes


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_those_of_an_ordinary_layer_in_sixteen_bits(autocast) -> None:
    layer = wide(30, dtype=torch.float32 if autocast else torch.bfloat16)
    plain = nn.Linear(48, 30, bias=False, dtype=layer.weight.dtype)
    plain.load_state_dict(layer.state_dict())
    weights = torch.randn(9, 30)
    gradients = []
    for module in (layer, plain):
        input = torch.randn(9, 48, generator=torch.Generator().manual_seed(1)).to(layer.weight.dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = module(input)
        (output.float() * weights).sum().backward()
        gradients.append((input.grad, module.weight.grad))
    for found, expected in zip(*gradients, strict=True):
        assert found.dtype == expected.dtype == layer.weight.dtype
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_a_frozen_weight_gets_no_gradient() -> None:
    layer = wide(30, dtype=torch.bfloat16).requires_grad_(False)
    input = torch.randn(3, 48, dtype=torch.bfloat16, requires_grad=True)
    layer(input).sum().backward()
    assert layer.weight.grad is None
    assert input.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_weights_are_multiplied_as_ever(dtype) -> None:
    layer, input = wide(30, True, dtype), torch.randn(4, 48, dtype=dtype)
    assert torch.equal(layer(input), nn.functional.linear(input, layer.weight, layer.bias))


def test_it_compiles_without_a_break() -> None:
    layer, input = wide(30, dtype=torch.bfloat16), torch.randn(4, 48, dtype=torch.bfloat16)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        assert torch.equal(compiled(input), layer(input))


def test_products_of_four_axes() -> None:
    left, right = torch.randn(2, 3, 4, 8).bfloat16(), torch.randn(2, 3, 8, 5).bfloat16()
    found = wide_product(left, right)
    torch.testing.assert_close(found.double(), left.double() @ right.double(), rtol=0, atol=1e-6)
    assert wide_product(left.double(), right.double()).dtype == torch.float64
