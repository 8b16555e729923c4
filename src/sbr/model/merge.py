"""An adapter and its base -> an ordinary Hugging Face folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from sbr.card.blocks import CARD
from sbr.card.card import card_of_merged
from sbr.config.inputs import ModelConfig
from sbr.config.section import DType
from sbr.errors import CheckpointError, ConfigError
from sbr.files import writing
from sbr.model import lora
from sbr.model.load import adapter_base, load_model, load_processor
from sbr.model.paths import resolve_model_path


def merge(path: str, out: Path, dtype: DType) -> None:
    """Write weights, generation config, tokenizer and processor of the adapter in `path` and its base into `out`, with
    a card made of that of the adapter.

    The sum is computed in float32 and then rounded to `dtype`.  `out` appears when it is complete; it must not exist
    (ConfigError).  Raises CheckpointError when `path` holds no adapter or its base is not here.
    """
    if os.path.lexists(out):
        raise ConfigError(f"{out} already exists; name a new folder")
    if not lora.is_adapter(resolve_model_path(path)):
        raise CheckpointError(f"{path} holds no adapter ({lora.CONFIG}); a whole model needs no merging")
    adapter = Path(resolve_model_path(path))
    card = card_of_merged(adapter, adapter_base(str(adapter)), dtype)
    model = load_model(ModelConfig(path=path, dtype="float32"), torch.device("cpu"))
    processor = load_processor(path)
    model.to(getattr(torch, dtype))  # pyright: ignore[reportArgumentType, reportCallIssue]
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    with writing(out):
        draft.mkdir(parents=True)
        try:
            model.save_pretrained(draft)
            processor.save_pretrained(draft)
            (draft / CARD).write_text(card, encoding="utf-8")
            draft.rename(out)
        finally:
            if draft.exists():
                shutil.rmtree(draft)
