"""Linear layers with weights in oneDNN's own layout: generation on a CPU.

A decoding step multiplies 1 to 100 rows by every weight matrix, so it is limited by how fast weights are read.  On the
layout of torch the CPU's matrix product reads them at a fraction of the memory's speed; on oneDNN's blocked layout it
is 2 to 4 times faster, and prefill gains a tenth.  The result is the same up to rounding.  A copy has no gradient and
is of the weights at one moment, so training stays on the ordinary layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sbr.model.head import WideHead

MKLDNN = torch.ops.mkldnn
"""The operators torch.compile itself uses on CPUs.  They are not documented; tests/parity compares them."""


def packing_helps(model: nn.Module) -> bool:
    """Float32 weights on a CPU for which torch was built with oneDNN, outside autocast."""
    weight = next(model.parameters())
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[None]:
    """Inside, every linear layer of `model` multiplies by a packed copy of its weight, as it is now; no gradient.

    Needs as much memory again as the weights of the layers, while it lasts.
    """
    layers = [
        module for module in model.modules() if isinstance(module, nn.Linear) and type(module) in (nn.Linear, WideHead)
    ]
    try:
        for layer in layers:
            layer.forward = _packed_forward(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the class's own again


def _packed_forward(layer: nn.Linear) -> Any:
    packed, bias = MKLDNN._reorder_linear_weight(layer.weight.detach()), layer.bias

    def forward(input: Tensor) -> Tensor:
        return MKLDNN._linear_pointwise(input, packed, bias, "none", [], "")

    return forward
