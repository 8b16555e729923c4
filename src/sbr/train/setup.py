"""What a training loop works with: process group, policy, reference, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from torch import nn
from transformers import Qwen2VLForConditionalGeneration, get_scheduler

from sbr.config import GrpoRecipe, TrainConfig
from sbr.errors import ConfigError
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import CompletionLogprobs, completion_logprobs
from sbr.train.checkpoint import restore
from sbr.types import Prompt


class Policy(nn.Module):
    """The trained model as data-parallel wrappers want it: one forward call that holds the whole computation."""

    def __init__(self, model: Qwen2VLForConditionalGeneration) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, prompts: Sequence[Prompt], completions_PG: Sequence[Sequence[Sequence[int]]]
    ) -> CompletionLogprobs:
        return completion_logprobs(self.model, prompts, completions_PG)


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """One process's share of everything that is trained."""

    accelerator: Accelerator
    policy: nn.Module
    """`Policy`, wrapped by accelerate; call it for log-probabilities with gradient."""
    model: Qwen2VLForConditionalGeneration
    """The same weights unwrapped, for generation and saving."""
    reference: Qwen2VLForConditionalGeneration | None
    processor: Any
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


def make_accelerator(recipe: GrpoRecipe) -> Accelerator:
    """Start (or join) the process group.

    Precision: weights, gradients and optimizer state are float32.  With `model.dtype = "bfloat16"` the forward and
    backward passes run under bfloat16 autocast.  The official run kept everything in bfloat16, where an update of
    1e-6 times the weight is below the resolution of the weight and is mostly lost; float32 weights keep it.

    Raises ConfigError for float16, a tracker that is not installed, or prompts that the processes cannot share evenly.
    """
    if recipe.model.dtype == "float16":
        raise ConfigError(
            'model.dtype is "float16", whose gradients underflow in training; use "bfloat16", or "float32" on a CPU'
        )
    available = [str(tracker.value) for tracker in get_available_trackers()]
    for name in recipe.log.trackers:
        if name not in available:
            raise ConfigError(
                f"log.trackers: {name!r} is not installed or not known to accelerate (installed: "
                f"{', '.join(available) or 'none'}); install it, or remove it: metrics.jsonl is always written"
            )
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.model.dtype == "bfloat16" else "no",
        log_with=list(recipe.log.trackers) or None,
        project_dir=recipe.output_dir,
    )
    if recipe.train.prompts_per_step % accelerator.num_processes:
        raise ConfigError(
            f"train.prompts_per_step is {recipe.train.prompts_per_step}, which {accelerator.num_processes} processes "
            "cannot share evenly; make it a multiple of the number of processes"
        )
    return accelerator


def make_trainer(recipe: GrpoRecipe, accelerator: Accelerator, steps: int, resume_from: Path | None) -> Trainer:
    """Load the model (from `resume_from` when given), the reference if the loss has a KL term, and the optimizer.

    The reference always comes from `model.path`, in the same precision as the policy, so that the KL term of an
    untrained policy is exactly zero.  The schedule spans `steps` steps.
    """
    start = recipe.model.model_copy(update={"dtype": "float32"})
    source = start if resume_from is None else start.model_copy(update={"path": str(resume_from)})
    model = load_model(source, accelerator.device)
    reference = None
    if recipe.algo.beta > 0:
        reference = load_model(start, accelerator.device)
        reference.requires_grad_(False)
        reference.eval()
    optimizer = make_optimizer(model, recipe.train)
    schedule = get_scheduler(
        recipe.train.schedule,
        optimizer,
        num_warmup_steps=math.ceil(recipe.train.warmup_ratio * steps),
        num_training_steps=steps,
    )
    if resume_from is not None:
        restore(resume_from, accelerator, optimizer, schedule)
    policy, prepared = accelerator.prepare(Policy(model), optimizer)
    return Trainer(accelerator, policy, model, reference, load_processor(recipe.model.path), prepared, schedule)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained; weight decay acts on matrices only, not on biases and norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2))
