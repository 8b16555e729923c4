"""Every parity test runs on the tiny checkpoint of every family; `prompts` mixes lengths, sizes, rows without video."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from plain_transformers import plain_model
from transformers import PreTrainedModel

from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.model.families import MODEL_CLASSES, VisionLanguageModel
from sbr.model.load import load_model, load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.types import Frames, Prompt


@pytest.fixture(scope="session", params=MODEL_CLASSES)
def tiny_model_dir(request: pytest.FixtureRequest, tiny_model_dirs: dict[str, Path]) -> Path:
    return tiny_model_dirs[request.param]


@pytest.fixture(scope="session")
def tokenizer(tiny_model_dir: Path):
    return load_processor(str(tiny_model_dir)).tokenizer


@pytest.fixture(scope="session")
def prompts(tiny_model_dir: Path, sbr_sample, sbr_frames) -> list[Prompt]:
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    token = encoder.size_factor  # pixels of a visual token

    def frames(seed: int, count: int, height: int, width: int, **clip: float) -> Frames:
        return sbr_frames(seed, count, height * token, width * token, **clip)

    # Sizes that are not multiples of the windows of Qwen2.5-VL, 2 x 2 here; 1.67 and 2 seconds from patch to patch.
    return [
        encoder.encode(sbr_sample("0"), frames(0, count=4, height=2, width=3, total=100, fps=30.0)),
        encoder.encode(sbr_sample("1", video=False, question="What now?"), frames(1, count=0, height=2, width=2)),
        encoder.encode(sbr_sample("2", options=2), frames(2, count=6, height=5, width=3, total=150, fps=25.0)),
    ]


@pytest.fixture
def ours(tiny_model_dir: Path) -> VisionLanguageModel:
    """A fresh model with the shared-prefix attention."""
    return load_model(ModelConfig(path=str(tiny_model_dir), dtype="float32"), torch.device("cpu"))


@pytest.fixture
def plain(tiny_model_dir: Path) -> PreTrainedModel:
    """A fresh model with transformers' own eager attention."""
    return plain_model(tiny_model_dir)
