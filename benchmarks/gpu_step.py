"""Seconds a prompt of GRPO on one GPU: a Qwen2-VL-7B with random weights at the paper's geometry, bfloat16.

    python benchmarks/gpu_step.py --out runs/gpu_step.json
    python benchmarks/gpu_step.py --size tiny --frames 4 --side 84 --tokens 8 --out /tmp/gpu_step.json   # any machine

16 frames and one image of 252 x 252 pixels, G = 8, completions of `tokens` tokens, 8 prompts a step, through the
training loop's own functions.  full: all weights in bfloat16, AdamW with 8-bit moments and stochastic rounding, a
frozen copy as the reference.  lora: rank 64 on the text layers, the reference is the model without adapters.

The share of the peak is counted operations of the training pass over (seconds x peak); the peak is that of the data
sheet (`peak_tflops`), and the rate of a large bfloat16 product measured in the same run stands beside it.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from accelerate import Accelerator
from geometry import SAMPLE, SIZES, forbid_special_tokens, make_model, make_processor, make_prompt
from rates import FlopCount
from rich.console import Console
from rich.table import Table

from sbr.algo.select import select
from sbr.config.algo import GrpoAlgo
from sbr.config.inputs import LoraConfig
from sbr.config.training import TrainConfig
from sbr.model import lora
from sbr.model.equip import equip
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.setup import make_optimizer
from sbr.train.trainer import Policy, Trainer
from sbr.types import Prompt, RolloutGroup

STAGES = ("rollout", "reference", "train")
PAPER_PROMPTS = 6000


@dataclass(frozen=True)
class Args:
    out: Path
    size: str = "7B"
    modes: tuple[Literal["full", "lora"], ...] = ("full", "lora")
    prompts: int = 8
    """Prompts of an optimizer step, rolled out together."""
    microbatch: tuple[int, ...] = (1, 2)
    """Prompts of one training pass; every value is measured."""
    compile: tuple[bool, ...] = (False, True)
    """Decoding steps through torch.compile; every value is measured."""
    checkpointing: bool = False
    group_size: int = 8
    tokens: int = 150
    frames: int = 16
    side: int = 252
    runs: int = 3
    """Steps measured after one that warms up."""
    peak_tflops: float = 989.0
    """Dense bfloat16 peak of the GPU's data sheet; 989 is H100 and H200."""


@dataclass(frozen=True)
class Measured:
    """One setting.  Seconds are medians a prompt; every step's own are in `raw`."""

    mode: str
    microbatch: int
    compile: bool
    seconds_per_prompt: dict[str, float]
    """rollout, reference, train (backward, clipping and optimizer included), step."""
    paper_run_hours: float
    """6,000 prompts at this rate."""
    sampled_tokens_per_second: float
    """Of the rollout stage."""
    trained_tokens_per_second: float
    """Completion tokens of the training stage."""
    train_tflops: float
    """Counted operations of forward and backward over the seconds of the training stage."""
    train_peak_share: float
    peak_gib: float | None
    """Largest allocation of the setting (None without a GPU)."""
    raw: list[dict[str, float]]


def main(args: Args) -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processor = make_processor()
    prompts = [make_prompt(processor, args.frames, args.side, seed) for seed in range(args.prompts)]
    console = Console(stderr=True)
    result: dict[str, Any] = {
        "settings": {name: str(value) if name == "out" else value for name, value in asdict(args).items()},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "prompt_tokens": len(prompts[0]),
        "product_tflops": product_rate(device) / 1e12,
        "measured": [],
    }
    for mode in args.modes:
        trainer = make_trainer(args, mode, processor, device)
        result["parameters"] = sum(weight.numel() for weight in trainer.model.parameters())
        for microbatch in args.microbatch:
            for compiled in args.compile:
                found = measure(args, mode, trainer, prompts, microbatch, compiled)
                result["measured"].append(asdict(found))
                console.print(
                    {field.name: getattr(found, field.name) for field in fields(found) if field.name != "raw"}
                )
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        del trainer
        gc.collect()
        torch.cuda.empty_cache()
    Console().print(table(result))
    return 0


def make_trainer(args: Args, mode: str, processor: Any, device: torch.device) -> Trainer:
    """The loop's own parts around a model with random weights."""
    accelerator = Accelerator(mixed_precision="bf16", cpu=device.type == "cpu")
    model = make_model(SIZES[args.size], processor, device, torch.bfloat16)
    equip(model)
    forbid_special_tokens(model, processor)
    if args.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy = Policy(model, autocast=accelerator.autocast)
    if mode == "full":
        copy = deepcopy(model).requires_grad_(False).eval()
        reference: Any = partial(nullcontext, Policy(copy, autocast=accelerator.autocast))
        config = TrainConfig(optimizer="adamw_8bit", weights="bfloat16")
    else:
        lora.add_adapter(model, LoraConfig(rank=64, alpha=128), base="random/weights", seed=0)
        reference = policy.without_adapters
        config = TrainConfig()
    optimizer = make_optimizer(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return Trainer(accelerator, policy, reference, processor, optimizer, schedule)


def measure(
    args: Args, mode: str, trainer: Trainer, prompts: Sequence[Prompt], microbatch: int, compiled: bool
) -> Measured:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with FlopCount() as count:
        training_pass(args, trainer, prompts[:microbatch])
    flops = count.total / microbatch
    step(args, trainer, prompts, microbatch, compiled)  # warm
    raw = [step(args, trainer, prompts, microbatch, compiled) for _ in range(args.runs)]
    seconds = {stage: statistics.median(run[stage] for run in raw) / len(prompts) for stage in (*STAGES, "step")}
    tokens = args.group_size * args.tokens
    return Measured(
        mode=mode,
        microbatch=microbatch,
        compile=compiled,
        seconds_per_prompt=seconds,
        paper_run_hours=PAPER_PROMPTS * seconds["step"] / 3600,
        sampled_tokens_per_second=tokens / seconds["rollout"],
        trained_tokens_per_second=tokens / seconds["train"],
        train_tflops=flops / seconds["train"] / 1e12,
        train_peak_share=flops / seconds["train"] / (args.peak_tflops * 1e12),
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None,
        raw=raw,
    )


def step(args: Args, trainer: Trainer, prompts: Sequence[Prompt], microbatch: int, compiled: bool) -> dict[str, float]:
    """One optimizer step; seconds of its stages."""
    seconds: dict[str, float] = {}
    algorithm = select(GrpoAlgo(), args.tokens)
    rewards_PG = (torch.arange(args.group_size) % 2).float().repeat(len(prompts), 1)
    start = _now()
    sampling = Sampling(1.0, 1.0, 0, args.tokens)
    with trainer.accelerator.autocast():
        completions = generate(
            trainer.model,
            trainer.processor.tokenizer,
            prompts,
            args.group_size,
            sampling,
            range(len(prompts)),
            compiled=compiled,
        )
    if any(len(completion.token_ids) != args.tokens for group in completions for completion in group):
        raise AssertionError("a completion ended early; the stages would not have the same work")
    seconds["rollout"] = _now() - start
    groups = [RolloutGroup(SAMPLE, *pair) for pair in zip(prompts, completions, strict=True)]
    start = _now()
    batches = make_microbatches(trainer, algorithm, groups, algorithm.advantages(rewards_PG), microbatch, 1, 1.0)
    seconds["reference"] = _now() - start
    start = _now()
    update(trainer, algorithm, batches, max_grad_norm=1.0, step=1)
    seconds["train"] = _now() - start
    return seconds | {"step": sum(seconds.values())}


def training_pass(args: Args, trainer: Trainer, prompts: Sequence[Prompt]) -> None:
    """Forward and backward alone, for counting."""
    completions = [[[20 + g] * args.tokens for g in range(args.group_size)] for _ in prompts]
    trainer.policy.train()
    found = trainer.policy(prompts, completions)
    trainer.accelerator.backward(found.logprobs_BL.mean())
    trainer.optimizer.zero_grad()


def product_rate(device: torch.device, size: int = 8192) -> float:
    """Operations a second of a large square bfloat16 product."""
    size = size if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(10):
        start = _now()
        left @ right
        times.append(_now() - start)
    return 2 * size**3 / min(times)


def table(result: dict[str, Any]) -> Table:
    shown = Table(title=f"{result['device']}: {result['parameters'] / 1e9:.2f} G parameters, seconds a prompt")
    for column in ("mode", "microbatch", "compile", *STAGES, "step", "6,000 prompts", "share of peak", "peak GiB"):
        shown.add_column(column)
    for found in result["measured"]:
        memory = found["peak_gib"]
        shown.add_row(
            found["mode"],
            str(found["microbatch"]),
            str(found["compile"]),
            *(f"{found['seconds_per_prompt'][stage]:.3f}" for stage in (*STAGES, "step")),
            f"{found['paper_run_hours']:.2f} h",
            f"{found['train_peak_share']:.0%}",
            "-" if memory is None else f"{memory:.1f}",
        )
    return shown


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
