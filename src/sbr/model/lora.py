"""LoRA adapters (arXiv 2106.09685) inside a loaded model, by transformers' own use of peft.

The model keeps its class and its module names, so the shared-prefix passes run on it as they are.  Adapters are float32
whatever the frozen weights are: a small step on a bfloat16 weight would be rounded away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sbr.config.inputs import LoraConfig
from sbr.errors import CheckpointError, ConfigError
from sbr.model.families import VisionLanguageModel
from sbr.model.paths import resolve_model_path

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
NAME = "default"
"""peft's own name of a model's only adapter."""


def is_adapter(folder: str | Path) -> bool:
    """Does `folder` hold an adapter, as peft writes it, instead of a whole model?"""
    return (Path(folder) / CONFIG).is_file()


def read_config(folder: str | Path) -> peft.LoraConfig:
    """What adapter_config.json says.  Raises CheckpointError when it is damaged or not that of plain LoRA."""
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{Path(folder) / CONFIG} is damaged ({error}); copy the adapter again") from error
    if not isinstance(config, peft.LoraConfig) or config.modules_to_save or config.trainable_token_indices:
        raise CheckpointError(
            f"{folder} holds a {config.peft_type} adapter with more or other weights than low-rank matrices; this "
            "version uses plain LoRA: merge it into its base with peft and give the merged folder"
        )
    return config


def add_adapter(model: VisionLanguageModel, config: LoraConfig, base: str, seed: int) -> None:
    """Freeze `model` and put new adapters into it; they change nothing until the first update.

    `base` is the `model.path` it was loaded from; adapter_config.json will name it, so that peft and transformers find
    it: a folder, also that of a built-in name, by its absolute path.
    Raises ConfigError when no layer fits `config`.
    """
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=_targets(model, config),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):  # drawn on the CPU, whatever device the model is on
        torch.manual_seed(seed)
        model.add_adapter(settings, NAME)
    folder = Path(resolve_model_path(base))
    _finish(model, str(folder.resolve()) if folder.is_dir() else base)


def load_adapter(model: VisionLanguageModel, folder: str | Path) -> None:
    """Freeze `model`, the base of the adapter in `folder`, and put the adapter into it, ready to be trained further.

    On the device "meta" no weights are read.

    Raises CheckpointError when the adapter is incomplete or belongs to another base.
    """
    config, file = read_config(folder), Path(folder) / WEIGHTS
    base = config.base_model_name_or_path or ""
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; copy the adapter again, with its weights")
    advice = f"the adapter was trained on {base!r}; use that base, or copy the adapter again"
    try:
        model.add_adapter(config, NAME)
        _finish(model, base)
        if model.device.type == "meta":
            return
        expected = {name for name, weight in model.named_parameters() if weight.requires_grad}
        found: Any = peft.set_peft_model_state_dict(model, load_file(file), NAME)
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the adapter cannot be loaded: {error}\n{advice}") from error
    for what, names in (
        ("lacks", expected & set(found.missing_keys)),
        ("has, beyond the layers it names,", found.unexpected_keys),
    ):
        if names:
            raise CheckpointError(f"{file} {what} {len(names)} weights, the first is {min(names)}; {advice}")


def save_adapter(model: VisionLanguageModel, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write adapter_config.json and adapter_model.safetensors into `folder`, as peft does.

    `state` is the model's state dict, where that cannot be taken from the model itself.

    `model.save_pretrained` writes the same, but first asks the hub for the base's config, at every checkpoint.
    """
    weights = peft.get_peft_model_state_dict(model, state, adapter_name=NAME, save_embedding_layers=False)
    named = {f"base_model.model.{name}": weight.contiguous() for name, weight in weights.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})
    model.peft_config[NAME].save_pretrained(str(folder))


def merge_adapter(model: VisionLanguageModel) -> None:
    """Add the adapters to the weights, which become ordinary (trainable) ones again.

    Only for float32.  A bfloat16 weight w stays as it is when its change is below about |w| / 512: merging in 16 bits
    would lose part of what a short run has learned.
    """
    if model.dtype != torch.float32:
        raise ValueError(f"merging into {model.dtype} weights loses small changes; load the model in float32")
    for name, layer in [(name, part) for name, part in model.named_modules() if isinstance(part, BaseTunerLayer)]:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    model._hf_peft_config_loaded = False  # as delete_adapter leaves it
    model.requires_grad_(True)


@contextmanager
def adapters_off(model: VisionLanguageModel) -> Iterator[VisionLanguageModel]:
    """Inside, `model` is its base; afterwards, whatever happened, the adapters count again."""
    model.disable_adapters()
    try:
        yield model
    finally:
        model.enable_adapters()


def _targets(model: VisionLanguageModel, config: LoraConfig) -> list[str]:
    """Full names of the layers that get an adapter."""
    core = model.model
    parts: list[nn.Module] = [core.language_model, core.visual] if config.vision else [core.language_model]
    inside = {id(module) for part in parts for module in part.modules()}
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside]
    if config.target_modules is None:
        return layers
    known = {name.rpartition(".")[2] for name in layers}
    if unknown := set(config.target_modules) - known:
        raise ConfigError(
            f"lora.target_modules: no linear layer is called {min(unknown)!r}; there are {', '.join(sorted(known))}"
        )
    return [name for name in layers if name.rpartition(".")[2] in config.target_modules]


def _finish(model: VisionLanguageModel, base: str) -> None:
    cast_adapter_dtype(model, NAME)  # new adapters take the dtype of the layer they belong to
    model.peft_config[NAME].base_model_name_or_path = base
