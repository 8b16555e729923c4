"""The miniature's untrained base model: a Qwen2-VL of about 2 million parameters, its tokenizer and its processor.

Everything is an ordinary Hugging Face class, so that whatever loads Qwen2-VL-7B loads this too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

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
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Renders the same text as Qwen2-VL's own template for messages of text, image and video parts.
CHAT_TEMPLATE = """\
{%- if messages[0].role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'video' -%}{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- else -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def build_tokenizer(corpus: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE in which every word of `corpus` is one token; any other text falls back to bytes."""
    blank = Qwen2Tokenizer(vocab={}, merges=[])
    trained = Tokenizer(models.BPE())
    trained.normalizer = blank.backend_tokenizer.normalizer
    trained.pre_tokenizer = blank.backend_tokenizer.pre_tokenizer
    trained.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        sorted(set(corpus)),
        trainers.BpeTrainer(vocab_size=4096, min_frequency=1, initial_alphabet=alphabet, show_progress=False),
    )
    fields = json.loads(trained.to_str())["model"]
    make: Any = Qwen2Tokenizer  # its annotations are narrower than what it takes
    tokenizer = make(
        vocab=fields["vocab"],
        merges=[tuple(pair) for pair in fields["merges"]],
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=32768,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return tokenizer


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2VLProcessor:
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 768}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2VLForConditionalGeneration:
    """A randomly initialised model, float32."""

    def token(text: str) -> int:
        return tokenizer.get_vocab()[text]

    torch.manual_seed(seed)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.06,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 96,
            "hidden_size": 192,
            "num_heads": 3,
            "mlp_ratio": 4,
            "initializer_range": 0.06,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        dtype="float32",
    )
    model = Qwen2VLForConditionalGeneration(config)
    look_back(model, layer=0, offsets=(1, 2, 3))
    look_back(model, layer=1, offsets=(1, 2, 3))
    model.generation_config = GenerationConfig(
        bos_token_id=token("<|endoftext|>"),
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
        pad_token_id=token("<|endoftext|>"),
        do_sample=True,
        temperature=1.0,
    )
    return model


@torch.no_grad()
def look_back(model: Qwen2VLForConditionalGeneration, layer: int, offsets: tuple[int, ...], peak: float = 5.0) -> None:
    """Start the first key/value group of a layer as "look `offset` tokens back", one query head an offset.

    The query and key biases are set so that their rotary scores, sum_m c^2 cos(f_m (distance - offset)), peak at the
    offset by `peak` nats over its neighbours.  A transformer this small otherwise stays at chance for a long time when
    it has to copy an option's text to the letter in front of it; the weights are free to move from there.
    """
    attention: Any = model.model.language_model.layers[layer].self_attn
    inverse_frequency = model.model.language_model.rotary_emb.inv_freq.double()
    width = attention.head_dim
    half = width // 2
    gap = float((1 - torch.cos(inverse_frequency)).sum())
    size = math.sqrt(peak * math.sqrt(width) / gap)
    key = torch.zeros(width, dtype=torch.float64)
    key[:half] = size
    attention.k_proj.bias[:width] = key.float()
    for head, offset in enumerate(offsets):
        # apply_rotary_pos_emb turns (x1, x2) by +position * f; a query bias turned by -offset * f meets the key there.
        angle = -offset * inverse_frequency
        query = torch.cat([size * torch.cos(angle), size * torch.sin(angle)])
        attention.q_proj.bias[head * width : (head + 1) * width] = query.float()
