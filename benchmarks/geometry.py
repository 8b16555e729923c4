"""What the speed benchmarks work on: Qwen2-VL of several sizes with random weights, prompts of random pictures.

Nothing here depends on a machine or a baseline: sizes, device and precision are parameters, seeds are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import GenerationConfig, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

from sbr.config.inputs import PromptConfig
from sbr.mini.base_model import SPECIAL_TOKENS, build_processor, build_tokenizer
from sbr.mini.corpus import vocabulary
from sbr.prompt.encode import PromptEncoder
from sbr.prompt.template import question_text
from sbr.types import Frames, Prompt, Sample

NEVER = -1e9
"""Bias of tokens that must not be drawn.  Every variant pays for it alike."""

SAMPLE = Sample(
    sample_id="0",
    split="L1",
    domain="Daily life",
    scenario=None,
    video_source="random",
    video_id="0",
    video=Path("random"),
    image=Path("random"),
    task_goal="tidy up",
    question="what is next? " * 20 + "take cup now",  # 893 prompt tokens at the paper's geometry, as in the real one
    options=("take cup", "wash cup", "open box", "close box"),
    gold="A",
)


@dataclass(frozen=True)
class Size:
    """Widths and depths; the rest is the architecture's default."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    tied: bool = True
    """One matrix for the embedding and the head, as in the models below 7B."""


SIZES = {
    "tiny": Size(1024, 64, 96, 2, 4, 2, 32, 2, 2),
    "30M": Size(8192, 512, 1536, 8, 8, 2, 256, 4, 4),
    "100M": Size(16384, 768, 2048, 12, 12, 2, 384, 8, 6),
    "2B": Size(151936, 1536, 8960, 28, 12, 2, 1280, 32, 16),
    "7B": Size(152064, 3584, 18944, 28, 28, 4, 1280, 32, 16, tied=False),
}
"""tiny is for tests; 30M and 100M have heads 64 wide; 2B and 7B are the released Qwen2-VL's own sizes."""


def make_processor() -> Qwen2VLProcessor:
    return build_processor(build_tokenizer(vocabulary()))


def make_model(
    size: Size,
    processor: Qwen2VLProcessor,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Qwen2VLForConditionalGeneration:
    """The same random weights at every call, drawn on `device` in `dtype`; attention is SDPA."""
    token = processor.tokenizer.get_vocab()
    half = size.hidden // size.heads // 2
    text = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [half // 4, half * 3 // 8, half * 3 // 8],
        },
        "bos_token_id": None,
        "eos_token_id": token["<|im_end|>"],
        "pad_token_id": token["<|endoftext|>"],
        "tie_word_embeddings": size.tied,
    }
    vision = {
        "depth": size.vision_layers,
        "embed_dim": size.vision_hidden,
        "hidden_size": size.hidden,
        "num_heads": size.vision_heads,
    }
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    media = {f"{name.removesuffix('_pad')}_token_id": token[f"<|{name}|>"] for name in names}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=size.tied, **media)
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2VLForConditionalGeneration._from_config(config, dtype=dtype)
    model.generation_config = GenerationConfig(eos_token_id=token["<|im_end|>"], pad_token_id=token["<|endoftext|>"])
    model.set_attn_implementation("sdpa")
    return model


def forbid_special_tokens(model: Qwen2VLForConditionalGeneration, processor: Qwen2VLProcessor) -> None:
    """Make the end of turn and media tokens impossible, so that every variant draws the same number of usable tokens.

    A drawn media token would break the next forward pass of the baselines.
    """
    token = processor.tokenizer.get_vocab()
    bias = torch.zeros(model.config.text_config.vocab_size, device=model.device, dtype=model.dtype)
    bias[[token[name] for name in SPECIAL_TOKENS]] = NEVER
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)


def make_pictures(frames: int, side: int, seed: int) -> np.ndarray:
    """(frames + 1, side, side, 3) uint8: the frames of the video and the image."""
    return np.random.default_rng(seed).integers(0, 256, (frames + 1, side, side, 3), dtype=np.uint8)


def make_prompt(processor: Qwen2VLProcessor, frames: int = 16, side: int = 252, seed: int = 0) -> Prompt:
    """The benchmark's own form: a video of `frames` pictures and one image, `side` pixels a side (28 divides it)."""
    pictures = make_pictures(frames, side, seed)
    encoder = PromptEncoder(processor, PromptConfig(max_tokens=1_000_000))
    return encoder.encode(SAMPLE, Frames(pictures[:frames], pictures[frames], tuple(range(frames)), 2.0, frames))


def make_image_prompt(
    processor: Qwen2VLProcessor, frames: int = 16, side: int = 252, seed: int = 0
) -> tuple[Prompt, list[Image.Image]]:
    """The same pictures all as images: what a trainer without video input is given.  Also returns the pictures."""
    images = [Image.fromarray(picture) for picture in make_pictures(frames, side, seed)]
    content: list[dict[str, Any]] = [{"type": "image"} for _ in images] + [
        {"type": "text", "text": question_text(SAMPLE)}
    ]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    inputs = processor(text=[text], images=images, return_tensors="pt")
    prompt = Prompt(
        text=text,
        input_ids_S=inputs["input_ids"][0],
        mm_token_type_ids_S=inputs["mm_token_type_ids"][0],
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
        pixel_values_videos=None,
        video_grid_thw=None,
    )
    return prompt, images
