"""Shared fixtures: a complete, tiny, random Qwen2-VL checkpoint and factories of samples and frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
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


def build_processor() -> Qwen2VLProcessor:
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=build_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen2VLForConditionalGeneration:
    """Three text layers with 4 query and 2 key/value heads, two vision layers, large random weights."""
    ids = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)), strict=True))
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 5,  # like the real checkpoints: some rows belong to no token
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.15,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "hidden_size": 64,
            "initializer_range": 0.1,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config)
    for parameter in model.parameters():  # biases and norms start at constants, which would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.generation_config = GenerationConfig(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    return model


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete Hugging Face folder: random float32 weights, processor, chat template, generation config."""
    folder = tmp_path_factory.mktemp("tiny_qwen2_vl")
    processor = build_processor()
    processor.save_pretrained(folder)
    build_model(processor.tokenizer).save_pretrained(folder)
    return folder


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
    """sbr_frames(seed=0, count=4, height=56, width=56): random pictures; count=0 means no video."""

    def make(seed: int = 0, count: int = 4, height: int = 56, width: int = 56) -> Frames:
        generator = np.random.default_rng(seed)
        pixels = generator.integers(0, 256, (count + 1, height, width, 3), dtype=np.uint8)
        video = pixels[:count] if count else None
        return Frames(video, pixels[count], tuple(range(count)), 2.0 if count else None, count)

    return make
