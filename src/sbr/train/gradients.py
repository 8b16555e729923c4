"""The learning part of a step: gradients accumulated over microbatches, clipping, the optimizer.

Accumulation is exact: a loss divides by the rows or tokens of the whole update, so the gradients of microbatches add up
to that of the update, whatever their sizes.  Data parallelism then averages gradients over processes; the numbers that
losses divide by are therefore means over processes (`mean_over_processes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from sbr.errors import NotFiniteError
from sbr.model.twin import whole
from sbr.train.trainer import Trainer

BatchT = TypeVar("BatchT")
FiguresT = TypeVar("FiguresT")


def accumulate(
    trainer: Trainer, batches: Sequence[BatchT], loss_of: Callable[[BatchT], tuple[Tensor, FiguresT]]
) -> list[FiguresT]:
    """Add the gradients of all microbatches to those at hand; return what `loss_of` says beside each loss.

    Every process needs at least one microbatch.  All run as many passes as the busiest one, because they exchange
    weights and gradients in them: where a process has fewer, it repeats its last one with weight 0.
    """
    trainer.policy.train()
    passes = max(gather_object([len(batches)]))
    figures: list[FiguresT] = []
    for number in range(passes):
        last = number == passes - 1
        with nullcontext() if last else trainer.accelerator.no_sync(trainer.policy):
            loss, found = loss_of(batches[min(number, len(batches) - 1)])
            trainer.accelerator.backward(loss if number < len(batches) else 0 * loss)
        figures.append(found)
    return figures[: len(batches)]


def apply_gradients(trainer: Trainer, max_grad_norm: float, step: int) -> float:
    """Clip the accumulated gradients, let the optimizer take its step, and return their norm before clipping.

    Raises NotFiniteError when the gradient is not finite; the weights are then left as they were.
    """
    norm = float(whole(clip_grad_norm_(trainer.policy.parameters(), max_grad_norm)))
    if not math.isfinite(norm):
        raise NotFiniteError(
            f"step {step}: the gradient norm is {norm}; nothing was updated.  Resuming would meet the same numbers "
            "again, so start a new run from the newest checkpoint (--model.path) with a lower --train.learning_rate or "
            "in --model.dtype float32"
        )
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return norm


def mean_over_processes(trainer: Trainer, *counts: int) -> list[float]:
    """Return the mean of each count over the processes, all of which have to call this.  Exact up to 16 million."""
    own = torch.tensor(counts, dtype=torch.float32, device=trainer.accelerator.device)
    over_processes: Any = trainer.accelerator.reduce(own, "mean")
    return over_processes.tolist()
