"""A slow average of the policy, the reference of GRPO-CARE (arXiv 2506.16141).

It is kept in float32 whatever the weights are: 0.5 % of a small change is below the resolution of a bfloat16 weight,
and an average in 16 bits would never move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sbr.algo.algorithm import AverageSchedule
from sbr.errors import CheckpointError
from sbr.model.families import VisionLanguageModel
from sbr.model.modes import evaluating

FILE = "average.safetensors"


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
    def __call__(self) -> Iterator[VisionLanguageModel]:
        """Inside, the model has the averaged weights and is in evaluation mode; afterwards it is what it was.

        The weights change places, so no second model is held.
        """
        weights = trained(self._model)
        own = {name: weight.data for name, weight in weights.items()}
        with evaluating(self._model):
            try:
                for name, weight in weights.items():
                    weight.data = self.averages[name]
                yield self._model
            finally:
                for name, weight in weights.items():
                    weight.data = own[name]

    def save(self, folder: Path) -> None:
        save_file(self.averages, folder / FILE)

    def load(self, folder: Path) -> None:
        """Take what `save` wrote.  Raises CheckpointError when it is missing, damaged or of another model."""
        try:
            saved = load_file(folder / FILE)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder / FILE} is damaged ({error}); remove {folder.parent} and resume again: the run then "
                "continues from the checkpoint before it"
            ) from None
        if saved.keys() != self.averages.keys():
            raise CheckpointError(f"{folder / FILE} averages other weights than those that are trained")
        for name, average in self.averages.items():
            average.copy_(saved[name])


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
