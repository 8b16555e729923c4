"""A slow average of the policy, the reference of GRPO-CARE (arXiv 2506.16141).

It is kept in float32 whatever the weights are: 0.5 % of a small change is below the resolution of a bfloat16 weight,
and an average in 16 bits would never move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from sbr.algo.algorithm import AverageSchedule
from sbr.model.families import VisionLanguageModel
from sbr.model.modes import evaluating


class AverageWeights:
    """average <- decay * average + (1 - decay) * weights, every n-th step; starts as the weights at hand.

    Holds every weight that is trained: 4 bytes each, with LoRA the adapters alone.
    """

    def __init__(self, model: VisionLanguageModel, schedule: AverageSchedule) -> None:
        self._model = model
        self._schedule = schedule
        self.averages = {name: weight.detach().float().clone() for name, weight in trained(model).items()}

    def after_step(self, step: int) -> None:
        """Follow the policy if it is time to; `step` counts from 1."""
        if step % self._schedule.every == 0:
            for name, weight in trained(self._model).items():
                self.averages[name].lerp_(weight.detach().float(), 1 - self._schedule.decay)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, the model has the averaged weights and is in evaluation mode; afterwards it is what it was.

        The weights change places, so no second model is held.
        """
        with evaluating(self._model):
            self._exchange()
            try:
                yield
            finally:
                self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in trained(self._model).items():
            average = self.averages[name]
            if isinstance(weight, DTensor):  # gathered from the memory it was cut into: other memory is not seen
                own = weight.detach().clone()
                weight.copy_(average)
                average.copy_(own)
            else:
                self.averages[name], weight.data = weight.data, average


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
