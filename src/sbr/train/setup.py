"""What a training loop works with: process group, policy, reference, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from transformers import get_scheduler

from sbr.algo.algorithm import Algorithm
from sbr.config.inputs import LoraConfig, ModelConfig
from sbr.config.recipes import TrainRecipe
from sbr.config.training import TrainConfig
from sbr.errors import ConfigError
from sbr.model import lora
from sbr.model.families import VisionLanguageModel
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import CompletionLogprobs, completion_logprobs
from sbr.model.paths import resolve_model_path
from sbr.train.checkpoint import restore
from sbr.train.ema import AverageWeights
from sbr.train.run_folder import STATE
from sbr.types import Prompt


class Policy(nn.Module):
    """The trained model as data-parallel wrappers want it: one forward call that holds the whole computation."""

    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, prompts: Sequence[Prompt], completions_PG: Sequence[Sequence[Sequence[int]]]
    ) -> CompletionLogprobs:
        return completion_logprobs(self.model, prompts, completions_PG)


FixedModel = Callable[[], AbstractContextManager[VisionLanguageModel]]
"""`with fixed() as model:` gives a model that is only asked, never trained.  It may be the policy in another state."""


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """One process's share of everything that is trained."""

    accelerator: Accelerator
    policy: nn.Module
    """`Policy`, wrapped by accelerate; call it for log-probabilities with gradient."""
    model: VisionLanguageModel
    """The same weights unwrapped, for generation and saving."""
    reference: FixedModel | None
    """Of the KL term: a frozen copy, or with LoRA the same model with its adapters off.  None without a KL term and in
    SFT."""
    processor: Any
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: AverageWeights | None = None
    """The slow average of the policy that some algorithms ask (`Algorithm.average`)."""


def make_accelerator(recipe: TrainRecipe) -> Accelerator:
    """Start (or join) the process group.

    Precision: weights, gradients and optimizer state are float32 (`train.optimizer` and `train.weights` can save
    memory).  With `model.dtype = "bfloat16"` the forward and backward passes run under bfloat16 autocast.  The official
    run kept everything in bfloat16, where an update of 1e-6 times the weight is below the resolution of the weight and
    is mostly lost; float32 weights keep it.  With LoRA this holds for the adapters; the frozen weights are in
    `model.dtype`.

    Raises ConfigError for what cannot be trained: float16, something that is not installed, adapters or 16-bit weights
    where they cannot be, prompts that the processes cannot share evenly, sharded models.
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
    if recipe.train.optimizer == "adamw_8bit" and find_spec("torchao") is None:
        raise ConfigError(
            'train.optimizer "adamw_8bit" needs torchao: pip install "seed-bench-r1[lean]", or set it to "adamw"'
        )
    if recipe.lora is not None:
        _check_lora(recipe.model, recipe.lora)
    if recipe.train.weights == "bfloat16":
        _check_bfloat16_weights(recipe)
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.model.dtype == "bfloat16" else "no",
        log_with=list(recipe.log.trackers) or None,
        project_dir=recipe.output_dir,
        # Gradients lie in the buckets that are exchanged, instead of beside them: 4 bytes a parameter.
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    kind = accelerator.distributed_type.value
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise ConfigError(
            f"accelerate is configured for {kind}, which shards or changes the model; this version trains whole "
            "copies: launch with plain data parallelism (accelerate launch --multi_gpu, or torchrun)"
        )
    if accelerator.num_processes > 1 and recipe.train.weights == "bfloat16":
        raise ConfigError(
            'train.weights "bfloat16" rounds by chance in every process, and nothing keeps the copies equal; use one '
            'process, or train.weights "float32"'
        )
    if recipe.train.prompts_per_step % accelerator.num_processes:
        raise ConfigError(
            f"train.prompts_per_step is {recipe.train.prompts_per_step}, which {accelerator.num_processes} processes "
            "cannot share evenly; make it a multiple of the number of processes"
        )
    return accelerator


def make_trainer(
    recipe: TrainRecipe, accelerator: Accelerator, steps: int, resume_from: Path | None, algorithm: Algorithm | None
) -> Trainer:
    """Load the model (from `resume_from` when given), what `algorithm` compares it with, and the optimizer.

    `algorithm` is None in SFT, which has no reference.

    The reference always comes from `model.path`, in the same precision as the policy, so that the KL term of an
    untrained policy is exactly zero.  The schedule spans `steps` steps.  Seeds torch with `train.seed`, for dropout and
    stochastic rounding; on resume the saved random state follows.
    """
    torch.manual_seed(recipe.train.seed)
    with_reference = algorithm is not None and algorithm.needs_reference
    if recipe.lora is None:
        model, reference = _load_whole(recipe, accelerator.device, resume_from, with_reference)
    else:
        model = _load_adapted(recipe, recipe.lora, accelerator.device, resume_from)
        reference = partial(lora.adapters_off, model) if with_reference else None
    optimizer = make_optimizer(model, recipe.train)
    schedule = get_scheduler(
        recipe.train.schedule,
        optimizer,
        num_warmup_steps=math.ceil(recipe.train.warmup_ratio * steps),
        num_training_steps=steps,
    )
    kept = algorithm.average if algorithm else None
    average = AverageWeights(model, kept) if kept else None
    if resume_from is not None:
        restore(resume_from, accelerator, optimizer, schedule)
        if average:
            average.load(resume_from / STATE.parent)
    policy, prepared = accelerator.prepare(Policy(model), optimizer)
    processor = load_processor(recipe.model.path)
    return Trainer(accelerator, policy, model, reference, processor, prepared, schedule, average)


def _check_lora(model: ModelConfig, config: LoraConfig) -> None:
    if config.vision and not model.train_vision:
        raise ConfigError("lora.vision puts adapters into the vision tower, which model.train_vision = false freezes")
    if lora.is_adapter(resolve_model_path(model.path)):
        raise ConfigError(
            f"model.path {model.path} is an adapter, and [lora] would put a second one on it; start from its base or "
            "from a merged model, or continue its own run with --resume"
        )


def _check_bfloat16_weights(recipe: TrainRecipe) -> None:
    if lora.is_adapter(resolve_model_path(recipe.model.path)):
        raise ConfigError(
            f"model.path {recipe.model.path} is an adapter, which is merged into float32 weights only; set "
            'train.weights to "float32", or start from a merged model'
        )
    if recipe.lora is not None:
        raise ConfigError(
            'train.weights "bfloat16" is for training all weights; adapters are always float32 and the frozen weights '
            "beside them are in model.dtype: remove train.weights or [lora]"
        )
    if recipe.train.optimizer != "adamw_8bit" or recipe.model.dtype != "bfloat16":
        raise ConfigError(
            'train.weights "bfloat16" needs train.optimizer "adamw_8bit", which rounds stochastically (plain rounding '
            'loses steps as small as these), and model.dtype "bfloat16"'
        )


def _load_whole(
    recipe: TrainRecipe, device: torch.device, resume_from: Path | None, with_reference: bool
) -> tuple[VisionLanguageModel, FixedModel | None]:
    """All weights are trained, in `train.weights`; the reference is a second copy."""
    start = recipe.model.model_copy(update={"dtype": recipe.train.weights})
    source = start if resume_from is None else start.model_copy(update={"path": str(resume_from)})
    model = load_model(source, device)
    if not with_reference:
        return model, None
    reference = load_model(start, device)
    reference.requires_grad_(False)
    reference.eval()
    return model, partial(nullcontext, reference)


def _load_adapted(
    recipe: TrainRecipe, config: LoraConfig, device: torch.device, resume_from: Path | None
) -> VisionLanguageModel:
    """Only adapters are trained."""
    model = load_model(recipe.model, device)
    if resume_from is None:
        lora.add_adapter(model, config, recipe.model.path, recipe.train.seed)
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
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)
    from torchao.optim import AdamW8bit  # an extra; `make_accelerator` has looked for it

    stochastic = config.weights == "bfloat16"
    return AdamW8bit(groups, lr=config.learning_rate, betas=betas, bf16_stochastic_round=stochastic)
