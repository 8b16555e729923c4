"""Shared fixtures: complete, tiny, random checkpoints of every family and factories of samples and frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from sbr.types import LETTERS, Frames, Sample

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Qwen2-VL's own template (Apache-2.0), without the numbering of pictures.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

QUESTION = (
    "Considering the progress shown in the video and my current observation in the last frame, "
    "what action should I take next in order to make tea?"
)
OPTIONS = ("boil the kettle", "open cupboard", "wash the red cup", "pour water", "take spoon")


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of about 400 tokens: lossless like Qwen2's, and the prompts stay short."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [QUESTION, " ".join(OPTIONS), "You are a helpful assistant. system user assistant\n"] * 4
    corpus.append("Output the thinking process in <think> </think> and final answer in <answer> </answer> tags")
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in ("<|im_end|>", "<|endoftext|>")],
    )


# Family -> classes of config, model, processor and video processor; patch size; what its text and vision configs add.
# Qwen2.5-VL: windows of 2 x 2 visual tokens in layers 0 and 2, full attention in layer 1.  Qwen3-VL: vision layers 0
# and 1 feed text layers 0 and 1; heads are wider than hidden_size / num_attention_heads; 4 x 4 learned positions.
FAMILIES: dict[str, tuple[Any, Any, Any, Any, int, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
        14,
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}},
        {"depth": 2, "embed_dim": 32, "mlp_ratio": 2, "hidden_size": 64},
    ),
    "qwen2_5_vl": (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLVideoProcessor,
        14,
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}},
        {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
    ),
    "qwen3_vl": (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
        16,
        {
            "head_dim": 32,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5]},
        },
        {
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
    ),
}


def build_processor(family: str = "qwen2_vl") -> Any:
    _, _, processor, video_processor, patch_size, _, _ = FAMILIES[family]
    return processor(
        image_processor=Qwen2VLImageProcessor(patch_size=patch_size),
        tokenizer=build_tokenizer(),
        video_processor=video_processor(),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, family: str = "qwen2_vl", seed: int = 0) -> PreTrainedModel:
    """Three text layers with 4 query and 2 key/value heads, a vision tower of 2 heads, large random weights."""
    ids = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)), strict=True))
    config_class, model_class, _, _, _, text, vision = FAMILIES[family]
    config = config_class(
        text_config={
            "vocab_size": len(tokenizer) + 5,  # like the real checkpoints: some rows belong to no token
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.15,
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            **text,
        },
        vision_config={"num_heads": 2, "initializer_range": 0.1, **vision},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(seed)
    model = model_class(config)
    for parameter in model.parameters():  # biases and norms start at constants, which would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.generation_config = GenerationConfig(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model


@pytest.fixture(scope="session")
def tiny_model_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> complete Hugging Face folder: random float32 weights, processor, chat template, generation config."""
    folders = {family: tmp_path_factory.mktemp(f"tiny_{family}") for family in FAMILIES}
    for family, folder in folders.items():
        processor = build_processor(family)
        processor.save_pretrained(folder)
        build_model(processor.tokenizer, family).save_pretrained(folder)
    return folders


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_model_dirs: dict[str, Path]) -> Path:
    """The folder of the Qwen2-VL; tests of what differs between families take `tiny_model_dirs`."""
    return tiny_model_dirs["qwen2_vl"]


@pytest.fixture(scope="session")
def sbr_sample() -> Callable[..., Sample]:
    """sbr_sample(sample_id="0", video=True, options=4): a question whose gold answer is A; its files need not exist."""

    def make(sample_id: str = "0", video: bool = True, options: int = 4, question: str = QUESTION) -> Sample:
        return Sample(
            sample_id=sample_id,
            split="L1",
            domain="Daily life",
            scenario=None,
            video_source="EpicKitchens",
            video_id="P01_13",
            video=Path("/nowhere/video.mp4") if video else None,
            image=Path("/nowhere/image.png"),
            task_goal="make tea",
            question=question,
            options=OPTIONS[:options],
            gold=LETTERS[0],
        )

    return make


@pytest.fixture(scope="session")
def sbr_frames() -> Callable[..., Frames]:
    """sbr_frames(seed=0, count=4, height=56, width=56): random pictures; count=0 means no video.

    total=100, fps=30.0: taken from a file of 100 frames at 30 frames a second (default: all frames of one at 2).
    """

    def make(
        seed: int = 0, count: int = 4, height: int = 56, width: int = 56, total: int | None = None, fps: float = 2.0
    ) -> Frames:
        generator = np.random.default_rng(seed)
        pixels = generator.integers(0, 256, (count + 1, height, width, 3), dtype=np.uint8)
        if count == 0:
            return Frames(None, pixels[0], (), None, 0)
        total = count if total is None else total
        indices = tuple(round(index) for index in np.linspace(0, total - 1, count).tolist())
        return Frames(pixels[:count], pixels[count], indices, fps, total)

    return make
