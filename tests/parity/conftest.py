"""Prompts of the tiny checkpoint; `prompts` mixes lengths, sizes and a row without video."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_transformers import plain_model
from transformers import Qwen2VLForConditionalGeneration

from sbr.config import ModelConfig, PromptConfig
from sbr.model.load import load_model, load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.types import Prompt


@pytest.fixture(scope="session")
def tokenizer(tiny_model_dir: Path):
    return load_processor(str(tiny_model_dir)).tokenizer


@pytest.fixture(scope="session")
def prompts(tiny_model_dir: Path, sbr_sample, sbr_frames) -> list[Prompt]:
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    return [
        encoder.encode(sbr_sample("0"), sbr_frames(seed=0, count=4)),
        encoder.encode(sbr_sample("1", video=False, question="What now?"), sbr_frames(seed=1, count=0)),
        encoder.encode(sbr_sample("2", options=2), sbr_frames(seed=2, count=6, height=84, width=56)),
    ]


@pytest.fixture
def ours(tiny_model_dir: Path) -> Qwen2VLForConditionalGeneration:
    """A fresh model with the shared-prefix attention."""
    return load_model(ModelConfig(path=str(tiny_model_dir), dtype="float32"), torch.device("cpu"))


@pytest.fixture
def plain(tiny_model_dir: Path) -> Qwen2VLForConditionalGeneration:
    """A fresh model with transformers' own eager attention."""
    return plain_model(tiny_model_dir)
