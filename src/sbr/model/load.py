"""Checkpoints -> models and processors, with errors a person can act on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoProcessor, GenerationConfig

from sbr.config.inputs import ModelConfig
from sbr.errors import CheckpointError
from sbr.model import lora
from sbr.model.equip import equip
from sbr.model.families import MODEL_CLASSES, VisionLanguageModel, VisionLanguageProcessor
from sbr.model.model_folder import check_config, check_model_folder, check_vocabulary, refuse_code
from sbr.model.paths import resolve_model_path
from sbr.prompt.chat_template import check_template
from sbr.resume.folder import weight_files

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Configs:
    """What config.json and generation_config.json say, under the names of a model's own attributes."""

    config: Any
    generation_config: Any


def model_files(path: str) -> dict[str, Path]:
    """The files that decide a local model's answers, its adapter's base included, by names for messages.

    A hub name has none.  `path` as in a recipe.
    """
    folder = Path(resolve_model_path(path))
    files = {f"{folder.name}/{file.name}": file for file in weight_files(folder)}
    if lora.is_adapter(folder):
        base = Path(resolve_model_path(adapter_base(str(folder))))
        files |= {f"base/{base.name}/{file.name}": file for file in weight_files(base)}
    return files


def load_processor(path: str) -> VisionLanguageProcessor:
    """The checkpoint's own processor: tokenizer, chat template, image and video processor.  `path` as in a recipe."""
    resolved = resolve_model_path(path)
    refuse_code(path, Path(resolved))
    with _reading(path, "the processor"):
        processor = AutoProcessor.from_pretrained(resolved, trust_remote_code=False)
    if not isinstance(processor, VisionLanguageProcessor):
        raise CheckpointError(
            f"{path}: its processor is {type(processor).__name__}, not that of a {', '.join(MODEL_CLASSES)} checkpoint"
        )
    if processor.chat_template is None:
        raise CheckpointError(f"{path}: there is no chat template (chat_template.jinja); copy it from the base model")
    tokenizer: Any = processor.tokenizer
    pictures: Any = processor.image_processor
    for name in ("patch_size", "merge_size"):
        if not isinstance(size := getattr(pictures, name), int) or size < 1:
            raise CheckpointError(f"{path}: the processor cannot be loaded: its {name} is {size!r}")
    template = processor.chat_template
    check_template(
        template if isinstance(template, str) else template.get("default", ""), tokenizer.special_tokens_map, path
    )
    check_vocabulary(path, Path(resolved), len(tokenizer))
    return processor


def load_model(config: ModelConfig, device: torch.device) -> VisionLanguageModel:
    """The model on `device`, weights in `config.dtype`, ready for shared-prefix passes and ordinary use.

    On the device "meta" it is the same model without its weights: only config.json is read, buffers are real.

    Raises CheckpointError when the folder is missing, is of no known family, or lacks weights (nothing is ever left at
    its random initial value).

    A folder with an adapter gives its base and the adapter: merged in float32, so that it decodes as fast as the base;
    beside the frozen weights, in `config.dtype` too, in 16 bits (why: `lora.merge_adapter`).
    """
    resolved = resolve_model_path(config.path)
    if lora.is_adapter(resolved):
        return _load_adapted(config, resolved, device)
    if Path(resolved).is_dir():
        check = check_config if device.type == "meta" else check_model_folder
        check(config.path, Path(resolved))
    model_class = _model_class(config.path, resolved)
    read = _read_structure if device.type == "meta" else _read_weights
    model = read(config, resolved, model_class)
    equip(model)
    model.model.visual.requires_grad_(config.train_vision)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model if device.type == "meta" else model.to(device)  # pyright: ignore[reportArgumentType]


def _read_weights(config: ModelConfig, resolved: str, model_class: type[VisionLanguageModel]) -> VisionLanguageModel:
    with _reading(config.path, "the weights"):
        loaded: Any = model_class.from_pretrained(
            resolved,
            dtype=getattr(torch, config.dtype),
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    model, info = loaded
    absent = sorted(info["missing_keys"])
    if absent:
        raise CheckpointError(
            f"{config.path}: {len(absent)} weights are missing, the first is {absent[0]}; "
            "the checkpoint is incomplete: copy or download it again"
        )
    return model


def _read_structure(config: ModelConfig, resolved: str, model_class: Any) -> VisionLanguageModel:
    configs = load_configs(config.path)
    with _reading(config.path, "config.json"), init_empty_weights(include_buffers=False):
        model = model_class._from_config(configs.config, dtype=getattr(torch, config.dtype))
    model.tie_weights()  # what was tied there has come apart
    model.generation_config = configs.generation_config
    return model.eval()


def adapter_base(folder: str) -> str:
    """The `model.path` of the base that the adapter in `folder` names.  Raises CheckpointError when it is not there."""
    base = lora.read_config(folder).base_model_name_or_path
    advice = f"write where it is into base_model_name_or_path of {Path(folder) / lora.CONFIG}"
    if not base:
        raise CheckpointError(f"{folder} holds an adapter that names no base model; {advice}")
    try:
        resolved = resolve_model_path(base)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} holds an adapter of {base!r}, which is not here: {error}; {advice}") from None
    if lora.is_adapter(resolved):
        raise CheckpointError(f"{folder} holds an adapter of {base!r}, itself an adapter; merge that one first")
    return base


def _load_adapted(config: ModelConfig, folder: str, device: torch.device) -> VisionLanguageModel:
    model = load_model(config.model_copy(update={"path": adapter_base(folder)}), device)
    lora.load_adapter(model, folder)
    if config.dtype == "float32":
        lora.merge_adapter(model)
        model.model.visual.requires_grad_(config.train_vision)
        return model
    return model.to(getattr(torch, config.dtype))


def load_configs(path: str) -> Configs:
    """Both configs of a checkpoint without its weights, as `load_model` would find them.  `path` as in a recipe.

    Raises CheckpointError when config.json cannot be loaded.
    """
    resolved = resolve_model_path(path)
    config = _load_config(path, resolved)
    try:
        return Configs(config, GenerationConfig.from_pretrained(resolved))
    except OSError:  # no generation_config.json: transformers' own loader then does the same
        return Configs(config, GenerationConfig.from_model_config(config))


def _load_config(path: str, resolved: str) -> Any:
    if not Path(resolved).is_dir():
        _log.info("%s is not a folder here; looking it up on the Hugging Face hub", resolved)
    refuse_code(path, Path(resolved))
    with _reading(path, "config.json"):
        return AutoConfig.from_pretrained(resolved, trust_remote_code=False)


def _model_class(path: str, resolved: str) -> type[VisionLanguageModel]:
    found = _load_config(path, resolved)
    if found.model_type not in MODEL_CLASSES:
        raise CheckpointError(
            f"{path} is a {found.model_type} checkpoint; this version trains and evaluates {', '.join(MODEL_CLASSES)}"
        )
    if "sliding_attention" in getattr(found.text_config, "layer_types", ()):  # Qwen3-VL has no such layers
        raise CheckpointError(f"{path} uses sliding-window attention, which shared-prefix passes do not implement")
    return MODEL_CLASSES[found.model_type]


@contextmanager
def _reading(path: str, what: str) -> Iterator[None]:
    """transformers meets damaged files with errors of every kind; each becomes one CheckpointError, memory apart."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: {what} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
