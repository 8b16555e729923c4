"""What a run works with, made from its recipe: process group, policy, reference, optimizer and schedule."""

from __future__ import annotations

import math
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import nn
from transformers import get_scheduler

from sbr.algo.algorithm import Algorithm
from sbr.config.inputs import ModelConfig
from sbr.config.recipes import TrainRecipe
from sbr.config.training import TrainConfig
from sbr.model import lora
from sbr.model.families import VisionLanguageModel
from sbr.model.load import load_model, load_processor
from sbr.model.twin import Twin
from sbr.train import sharding
from sbr.train.checkpoint import restore
from sbr.train.ema import AverageWeights
from sbr.train.refusals import check_launch, check_recipe, check_sharding
from sbr.train.trainer import Policy, Trainer

LONGEST_WAIT = timedelta(hours=6)
"""How long processes wait for each other; `train.deadline` ends them before that, and says where they stand."""


def make_accelerator(recipe: TrainRecipe) -> Accelerator:
    """Start (or join) the process group.

    Precision: weights, gradients and optimizer state are float32 (`train.optimizer` and `train.weights` can save
    memory).  With `model.dtype = "bfloat16"` the forward and backward passes run under bfloat16 autocast.  The official
    run kept everything in bfloat16, where an update of 1e-6 times the weight is below the resolution of the weight and
    is mostly lost; float32 weights keep it.  With LoRA this holds for the adapters; the frozen weights are in
    `model.dtype`.

    Raises ConfigError for what cannot be trained (`sbr.train.refusals`).
    """
    check_recipe(recipe)
    accelerator = Accelerator(
        # Without this, processes that torchrun starts on a CPU do not join each other.
        cpu=not torch.accelerator.is_available(),
        mixed_precision="bf16" if recipe.model.dtype == "bfloat16" else "no",
        log_with=list(recipe.log.trackers) or None,
        project_dir=recipe.output_dir,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    check_launch(recipe, accelerator)
    return accelerator


def make_trainer(
    recipe: TrainRecipe,
    accelerator: Accelerator,
    steps: int,
    resume_from: Path | None,
    algorithm: Algorithm | None,
    temperature: float = 1.0,
    twin: bool | None = None,
) -> Trainer:
    """Load the model (from `resume_from` when given), what `algorithm` compares it with, and the optimizer.

    `algorithm` is None in SFT, which has no reference; `temperature` is that of `Policy`, `twin` is `rollout.twin`.

    The reference always comes from `model.path`, in the same precision as the policy, so that the KL term of an
    untrained policy is exactly zero.  The schedule spans `steps` steps.  Seeds torch with `train.seed`, for dropout and
    stochastic rounding; on resume the saved random state follows.
    """
    start = start_of(recipe)

    def trained(device: torch.device) -> Policy:
        return wrapped(_load_trained(recipe, start, device, resume_from))

    def frozen(device: torch.device) -> Policy:
        return wrapped(load_model(start, device).requires_grad_(False).eval())

    def wrapped(model: VisionLanguageModel) -> Policy:
        return Policy(model, temperature, accelerator.autocast)

    with_reference = algorithm is not None and algorithm.needs_reference
    copies = int(with_reference and recipe.lora is None)
    mode = sharding.choose(recipe.train.sharding, partial(trained, sharding.META), copies, accelerator)
    check_sharding(recipe, mode, accelerator)
    load = sharding.loader(mode, accelerator)
    policy = load(trained)
    reference = None
    if with_reference:
        reference = policy.without_adapters if recipe.lora else partial(nullcontext, load(frozen))
    rounding = getattr(torch, recipe.model.dtype) if recipe.model.dtype != "float32" else None
    copied = None
    if asks_twin(twin, mode, recipe, accelerator.device.type):
        copied = Twin(load_model(start, sharding.META), policy.model, accelerator.device, rounding)
    torch.manual_seed(recipe.train.seed)
    optimizer = make_optimizer(policy.model, recipe.train)
    schedule = get_scheduler(
        "constant_with_warmup" if recipe.train.schedule == "constant" else recipe.train.schedule,
        optimizer,
        num_warmup_steps=math.ceil(recipe.train.warmup_ratio * steps),
        num_training_steps=steps,
    )
    kept = algorithm.average if algorithm else None
    average = AverageWeights(policy.model, kept) if kept else None
    prepared: Any = accelerator.prepare_model(policy) if mode == "none" else policy
    processor = load_processor(recipe.model.path)
    trainer = Trainer(accelerator, prepared, reference, processor, optimizer, schedule, average, copied)
    if resume_from is not None:
        restore(recipe, resume_from, trainer)
    return trainer


def start_of(recipe: TrainRecipe) -> ModelConfig:
    """The model as it is loaded for training: with LoRA in `model.dtype`, otherwise in `train.weights`."""
    return recipe.model if recipe.lora else recipe.model.model_copy(update={"dtype": recipe.train.weights})


def asks_twin(wanted: bool | None, mode: sharding.Mode, recipe: TrainRecipe, device: str) -> bool:
    """Whether a copy is asked in place of the weights; `wanted` is `rollout.twin`, `device` "cpu" or "cuda"."""
    if mode != "none":
        return True
    rounds_in_every_step = recipe.model.dtype != "float32" and start_of(recipe).dtype == "float32"
    return device == "cuda" and rounds_in_every_step if wanted is None else wanted


def _load_trained(
    recipe: TrainRecipe, start: ModelConfig, device: torch.device, resume_from: Path | None
) -> VisionLanguageModel:
    """The model at the start or at a checkpoint: all its weights are trained, or with LoRA its adapters."""
    if recipe.lora is None:
        return load_model(start if resume_from is None else start.model_copy(update={"path": str(resume_from)}), device)
    model = load_model(start, device)
    if resume_from is None:
        lora.add_adapter(model, recipe.lora, recipe.model.path, recipe.train.seed)
    else:
        lora.load_adapter(model, resume_from)
    return model


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over the parameters that are trained; weight decay acts on matrices only, not on biases and norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (config.adam_beta1, config.adam_beta2)
    if config.optimizer == "adamw":
        on_gpu = all(parameter.is_cuda for parameter in trained)
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=on_gpu or None)
    from sbr.train.lean import LeanAdamW  # of an extra; `refusals` has looked for it

    stochastic = config.weights == "bfloat16"
    return LeanAdamW(groups, lr=config.learning_rate, betas=betas, bf16_stochastic_round=stochastic)
