"""The language-model head with float32 logits, whatever its factors are.

A logit of 20 in bfloat16 stands on a grid of 1/8.  Rounded like that, log-probabilities are off by hundredths and the
two likeliest tokens are often equal.  The products of 16-bit factors are exact in float32 and every kernel sums them
there, so only the last rounding has to be left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIXTEEN_BITS = (torch.bfloat16, torch.float16)

CPU_ROWS = 4096
"""Rows of the weight that exist in float32 at the same time on a CPU: 59 MB at a width of 3,584."""


class WideHead(nn.Linear):
    """A linear layer whose output is at least float32, in rollouts, training and ordinary use alike.

    Factors have the dtype they would have anyway: 16 bits with 16-bit weights and under autocast.  Under autocast the
    weight is cast at every call, because autocast's own copies cannot be had: at 152,064 x 3,584 this moves 3.3 GB.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., width) -> (..., vocabulary)"""
        device, kind = input.device.type, self.weight.dtype
        if torch.is_autocast_enabled(device):
            kind = torch.get_autocast_dtype(device)
        if kind not in SIXTEEN_BITS:
            return super().forward(input)
        with torch.autocast(device, enabled=False):
            rows, weight = input.to(kind).flatten(0, -2), self.weight.to(kind)
            product = _Product.apply(rows, weight) if torch.is_grad_enabled() else _product(rows, weight)
            if self.bias is not None:
                product = product + self.bias
            return product.unflatten(0, input.shape[:-1])


def wide_product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, both of 2 axes or both of 4; of 16-bit factors the float32 result, not rounded to 16 bits."""
    if left.dtype not in SIXTEEN_BITS:
        return left @ right
    if not left.is_cuda:
        return left.float() @ right.float()
    if left.dim() == 2:
        return torch.mm(left, right, out_dtype=torch.float32)
    product = torch.bmm(left.flatten(0, 1), right.flatten(0, 1), out_dtype=torch.float32)
    return product.unflatten(0, left.shape[:2])


class _Product(torch.autograd.Function):
    """rows @ weight.T in float32; the gradient of logits is rounded to 16 bits, as that of a 16-bit layer is."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        grad = grads[0].to(weight.dtype)
        for_rows, for_weight = ctx.needs_input_grad
        return grad @ weight if for_rows else None, grad.mT @ rows if for_weight else None


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    if rows.is_cuda:
        return wide_product(rows, weight.mT)
    return torch.cat([wide_product(rows, part.mT) for part in weight.split(CPU_ROWS)], -1)
