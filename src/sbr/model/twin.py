"""A copy of the trained model that is asked: it has weights only for as long as it is.

Where weights are trained in parts on several processes, nothing can be generated from the parts: every step of decoding
would gather every layer, and processes that end at different steps would wait for each other for ever.  Where they are
float32 under bfloat16 autocast, every step would round all of them anew.  The twin holds them whole, and rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from sbr.model.families import VisionLanguageModel
from sbr.model.lora import NAME
from sbr.model.vision import PatchProjection


class Twin:
    """`with twin() as model:` gives `source` with its present weights: whole, adapters added, without gradient.

    `structure` is the same model, or below adapters the base, on the device "meta"; it becomes the copy, on `device`.
    Under an autocast to `rounding` the weights of linear layers and of the patch projection are held in that dtype,
    which is what autocast makes of them, so the answers are those of `source` bit for bit; the sum of a weight and its
    adapter is rounded too, which `source` does not do.  All other weights are held as they are.

    Entering is a collective call where weights are in parts: every process has to enter, in the same order.
    """

    def __init__(
        self,
        structure: VisionLanguageModel,
        source: VisionLanguageModel,
        device: torch.device,
        rounding: torch.dtype | None = None,
    ) -> None:
        self.model = structure.eval()
        self._source = source
        _materialize(structure, device)
        rounded = {id(weight) for weight in _rounded_by_autocast(structure)} if rounding else set()
        self._dtypes = [
            (weight.dtype, rounding if rounding and id(weight) in rounded else weight.dtype)
            for weight in structure.parameters()
        ]
        """Of every weight: in the source, and here."""

    @contextmanager
    def __call__(self) -> Iterator[VisionLanguageModel]:
        try:
            with torch.no_grad():
                for (name, weight), (_, dtype) in zip(self.model.named_parameters(), self._dtypes, strict=True):
                    weight.data = self._present(name, dtype)
            yield self.model
        finally:
            for weight, (dtype, _) in zip(self.model.parameters(), self._dtypes, strict=True):
                weight.data = torch.empty(0, dtype=dtype, device=weight.device)

    def _present(self, name: str, dtype: torch.dtype) -> Tensor:
        """What parameter `name` of the twin is now.  It may be the source's own memory: nothing writes to a twin."""
        place, _, kind = name.rpartition(".")
        layer: Any = self._source.get_submodule(place)
        if not isinstance(layer, LoraLayer):
            return whole(getattr(layer, kind).detach().to(dtype))
        adapted: Any = layer
        found = whole(getattr(adapted.get_base_layer(), kind).detach())
        if kind == "weight":
            up, down = (whole(part[NAME].weight.detach()) for part in (adapted.lora_B, adapted.lora_A))
            with torch.autocast(found.device.type, enabled=False):
                found = (found.float() + adapted.scaling[NAME] * (up @ down)).to(found.dtype)
        return found.to(dtype)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be in parts on several processes; a collective call where it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _materialize(structure: nn.Module, device: torch.device) -> None:
    """Put buffers on `device` and an empty parameter in every place; tied ones stay tied."""
    made: dict[int, nn.Parameter] = {}
    for module in structure.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) not in made:
                made[id(weight)] = nn.Parameter(torch.empty(0, dtype=weight.dtype, device=device), requires_grad=False)
            module._parameters[name] = made[id(weight)]


def _rounded_by_autocast(model: nn.Module) -> list[nn.Parameter]:
    """Weights that no layer reads as they are: a tied head's is also the embedding."""
    kept = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | PatchProjection)]
    return [weight for layer in layers for weight in layer.parameters(recurse=False) if id(weight) not in kept]
