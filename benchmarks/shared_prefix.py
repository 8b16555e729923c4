"""What computing the prompt once per group saves: one process, same weights, same prompt, same completions.

    python benchmarks/shared_prefix.py [--runs 3] [--tokens 64]

A Qwen2-VL of about 30 million random parameters, float32, the paper's geometry: 16 frames and one image of 252 x 252
pixels, G = 8.  Baselines are plain transformers on the repeated prompt.  Variants alternate; figures are medians.
Writes benchmarks/results/shared_prefix.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
import tyro
from rich.console import Console
from rich.table import Table
from transformers import GenerationConfig, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from sbr.config import PromptConfig
from sbr.mini.base_model import build_processor, build_tokenizer
from sbr.mini.corpus import vocabulary
from sbr.model.logprobs import completion_logprobs
from sbr.model.shared_prefix import ATTENTION
from sbr.prompt.encode import PromptEncoder
from sbr.rollout.native import Sampling, generate
from sbr.types import Frames, Prompt, Sample

RESULT = Path(__file__).parent / "results" / "shared_prefix.json"


@dataclass(frozen=True)
class Args:
    """Measure the training pass and generation against plain transformers."""

    runs: int = 3
    group_size: int = 8
    tokens: int = 64
    """Tokens of every completion."""


def make_model(tokenizer) -> Qwen2VLForConditionalGeneration:
    token = tokenizer.get_vocab()
    text = {
        "vocab_size": 8192,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        "bos_token_id": None,
        "eos_token_id": token["<|im_end|>"],
        "pad_token_id": token["<|endoftext|>"],
    }
    vision = {"depth": 4, "embed_dim": 256, "hidden_size": 512, "num_heads": 4}
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    media = {f"{name.removesuffix('_pad')}_token_id": token[f"<|{name}|>"] for name in names}
    torch.manual_seed(0)
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **media)
    )


def make_prompt(processor) -> Prompt:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (17, 252, 252, 3), dtype=np.uint8)
    options = ("take cup", "wash cup", "open box", "close box")
    here = Path("random")
    question = "what is next? " * 10  # about as many words as a real question
    sample = Sample("0", "L1", "Daily life", None, "random", "0", here, here, "tidy up", question, options, "A")
    return PromptEncoder(processor, PromptConfig()).encode(sample, Frames(pixels[:16], pixels[16], (), 2.0, 16))


def repeated(prompt: Prompt, completions: torch.Tensor | None, group: int) -> dict[str, torch.Tensor]:
    """What a trainer without prefix sharing gives to the model."""
    ids = prompt.input_ids_S.repeat(group, 1)
    kinds = prompt.mm_token_type_ids_S.repeat(group, 1)
    if completions is not None:
        ids = torch.cat([ids, completions], 1)
        kinds = torch.cat([kinds, torch.zeros_like(completions).to(kinds.dtype)], 1)
    media = {name: getattr(prompt, name) for name in ("pixel_values", "pixel_values_videos")}
    grids = {name: getattr(prompt, name) for name in ("image_grid_thw", "video_grid_thw")}
    shared = {name: value.repeat(group, 1) for name, value in (media | grids).items()}
    return {"input_ids": ids, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(ids), **shared}


def main(args: Args) -> None:
    processor = build_processor(build_tokenizer(vocabulary()))
    model = make_model(processor.tokenizer)
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.text_config.eos_token_id, pad_token_id=model.config.text_config.pad_token_id
    )
    prompt = make_prompt(processor)
    group, length = args.group_size, args.tokens
    completions = torch.randint(20, 600, (group, length), generator=torch.Generator().manual_seed(1))
    implementations = {
        "once": {"text_config": ATTENTION, "vision_config": "sdpa"},
        "repeated": {"text_config": "sdpa", "vision_config": "sdpa"},
    }
    found: dict[str, torch.Tensor] = {}

    def train_once() -> None:
        logprobs = completion_logprobs(model, [prompt], [completions.tolist()]).logprobs_BL
        found["once"] = logprobs.detach()
        logprobs.mean().backward()

    def train_repeated() -> None:
        logits = model(**repeated(prompt, completions, group), logits_to_keep=length + 1).logits[:, :-1]
        logprobs = logits.log_softmax(-1).gather(-1, completions[..., None]).squeeze(-1)
        found["repeated"] = logprobs.detach()
        logprobs.mean().backward()

    def generate_once() -> None:
        answers = generate(model, processor.tokenizer, [prompt], group, Sampling(1.0, 1.0, 0, length), [0])[0]
        found["generated"] = torch.tensor([len(answer.token_ids) for answer in answers])

    def generate_batched(times: int = 1, each: int = group) -> None:
        settings = {
            "do_sample": True,
            "temperature": 1.0,
            "top_k": 0,
            "max_new_tokens": length,
            "min_new_tokens": length,
        }
        for _ in range(times):
            with torch.no_grad():
                model.generate(**repeated(prompt, None, 1), num_return_sequences=each, **settings)

    variants: dict[str, tuple[str, Callable[[], None]]] = {
        "training pass, prompt once": ("once", train_once),
        "training pass, prompt repeated": ("repeated", train_repeated),
        "generation, prompt once": ("once", generate_once),
        "generation, one batched generate call": ("repeated", generate_batched),
        "generation, G generate calls": ("repeated", lambda: generate_batched(group, 1)),
    }
    # The end of turn is made impossible, so that every variant draws the same number of tokens.
    bias = torch.zeros(model.config.text_config.vocab_size)
    bias[model.config.text_config.eos_token_id] = -1e9
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(args.runs):
        for name, (implementation, step) in variants.items():
            model.set_attn_implementation(implementations[implementation])
            model.zero_grad(set_to_none=True)
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    assert (found["generated"] == length).all(), "a completion ended early; the comparison would not be fair"
    median = {name: statistics.median(values) for name, values in seconds.items()}
    names = list(variants)
    ratios = {
        "training_pass": median[names[1]] / median[names[0]],
        "generation_vs_batched": median[names[3]] / median[names[2]],
        "generation_vs_g_calls": median[names[4]] / median[names[2]],
    }
    result = {
        "ratios": ratios,
        "largest_logprob_difference": float((found["once"] - found["repeated"]).abs().max()),
        "median_seconds": median,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "prompt_tokens": len(prompt),
        "group_size": group,
        "tokens": length,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    table = Table(
        title=f"{result['parameters'] / 1e6:.0f}M parameters, {len(prompt)} prompt tokens, G={group}, {length} tokens"
    )
    for column in ("", "median s", "all runs"):
        table.add_column(column)
    for name, values in seconds.items():
        table.add_row(name, f"{median[name]:.2f}", " ".join(f"{value:.2f}" for value in values))
    console = Console()
    console.print(table)
    console.print({name: round(value, 2) for name, value in ratios.items()})
    console.print(f"largest difference of log-probabilities {result['largest_logprob_difference']:.1e}; wrote {RESULT}")


if __name__ == "__main__":
    main(tyro.cli(Args))
