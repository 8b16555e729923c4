"""What the machine can do and what a pass costs: the rate of matrix products and counted operations.

`FlopCounterMode` knows the matrix products and the attention kernels of GPUs, but not the CPU's fused attention; the
formulas below add it.  A causal call counts the triangle it needs, not the square.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from geometry import Size
from torch.utils.flop_counter import FlopCounterMode

SECONDS = 0.3
"""How long each shape is measured."""


def gemm_rate(size: Size, tokens: int, patches: int, device: torch.device | str = "cpu") -> float:
    """Operations a second (2 a multiply-add) of float32 products as in this model's linear layers; the best shape."""
    shapes = [
        (tokens, size.hidden, size.intermediate),
        (tokens, size.intermediate, size.hidden),
        (tokens, size.hidden, size.hidden),
        (patches, size.vision_hidden, 4 * size.vision_hidden),
        (patches, 4 * size.vision_hidden, size.vision_hidden),
    ]
    return max(_rate(*shape, torch.device(device)) for shape in shapes)


def _rate(rows: int, inner: int, columns: int, device: torch.device) -> float:
    left = torch.randn(rows, inner, device=device)
    weight = torch.randn(columns, inner, device=device)
    out = torch.nn.functional.linear(left, weight)  # warm
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        torch.matmul(left, weight.T, out=out)
        calls += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return 2 * rows * inner * columns * calls / (time.perf_counter() - start)


class FlopCount:
    """`with FlopCount() as count: ...; count.total`: operations of matrix products and attention that were executed."""

    def __init__(self) -> None:
        aten = torch.ops.aten
        on_cpu = {
            aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        }
        self._counter = FlopCounterMode(display=False, custom_mapping=on_cpu)

    def __enter__(self) -> FlopCount:
        self._counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)

    @property
    def total(self) -> int:
        return self._counter.get_total_flops()


def _attention_forward(query, key, value, dropout=0.0, is_causal=False, **_) -> int:
    """Shapes in, operations out: scores and their product with the values."""
    return 2 * _one_product(query, key, is_causal)


def _attention_backward(grad_out, query, key, value, out, logsumexp, dropout, is_causal, **_) -> int:
    """Scores again, and the gradients of weights, values, queries and keys."""
    return 5 * _one_product(query, key, is_causal)


def _one_product(query: torch.Size, key: torch.Size, is_causal: bool) -> int:
    batch, heads, queries, width = query
    pairs = queries * (queries + 1) // 2 if is_causal else queries * key[2]
    return 2 * batch * heads * pairs * width
