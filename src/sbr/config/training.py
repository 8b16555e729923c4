"""Sections of training.  Defaults are the official setting of arXiv 2503.24376."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sbr.config.named import Named, NativeOrNamed
from sbr.config.section import Level, Rule, Section


class RolloutConfig(Section):
    sampler: NativeOrNamed = "native"
    """Who draws the completions: native, the weights at hand, or "module:function" of your own, which is given the
    trainer's model, the processor and the recipe and returns an `sbr.rollout.sampler.Sampler`."""
    group_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps the whole vocabulary."""
    max_new_tokens: int = Field(default=256, ge=1)
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs and weights in 16 bits (float32 weights
    would be converted in every step).  The first steps take a minute more."""


class RewardConfig(Section):
    """The reward is the sum of weight * part; every part is logged, whatever its weight."""

    rule: Rule = "official"
    accuracy_weight: float = 1.0
    format_weight: float = 0.0
    consistency_weight: float = 0.0
    """1 when the reasoning ends at the chosen option, 0 when it contradicts it, 0.5 when a rule cannot tell."""
    length_weight: float = 0.0
    """0 for a short answer, down to -1 at rollout.max_new_tokens (DAPO's soft overlong punishment)."""
    length_share: float = Field(default=0.2, gt=0, le=1)
    """The part of rollout.max_new_tokens over which the length reward falls."""
    custom: dict[Named, float] = Field(default_factory=dict)
    """Rewards of your own, "module:function" with its weight.  function(text, sample, tokens) gives a number."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of training questions whose gold letter is replaced by another one, to study robustness."""
    noise_seed: int = 0
    """Which questions those are; they do not depend on train.seed."""


class TrainConfig(Section):
    prompts_per_step: int = Field(default=8, ge=1)
    """Prompts of one optimizer step, over all processes."""
    prompts_per_microbatch: int = Field(default=1, ge=1)
    """Prompts of one forward/backward pass of one process; gradients accumulate up to `prompts_per_step`."""
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    """Take so many steps, over as many epochs as needed (None: `epochs` decides).  The schedule spans these steps."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """adamw_8bit keeps the moments of matrices in 8 bits (torchao): 10 instead of 16 bytes a trained parameter.  It
    compiles its step, so a CPU needs a C++ compiler."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 trains the weights in 16 bits: 6 bytes a parameter.  Needs adamw_8bit, which then rounds stochastically,
    so that steps below the resolution of a weight are kept on average.  Moments of biases and norms are bfloat16 then,
    plainly rounded.  One process only."""
    learning_rate: float = Field(default=1e-6, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = 0
    save_every: int = Field(default=100, ge=1)
    """Optimizer steps between checkpoints; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, ge=1)


class SftTrainConfig(TrainConfig):
    """Official sft configuration: 8 GPUs x 1 x 16 rows a step, learning rate 2e-5, cosine with warm-up over a tenth."""

    prompts_per_step: int = Field(default=128, ge=1)
    """Prompts of one optimizer step, over all processes, each with all its responses."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)


class ValidationConfig(Section):
    """Looks at the model while SFT goes on.  They change nothing of what is learned, apart from the rows held out."""

    every: int = Field(default=10, ge=1)
    """Optimizer steps between looks; the last step is always looked at."""
    share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the questions whose responses are not trained on but measured: whole uncut videos, drawn with
    train.seed."""
    level: Level | None = None
    """Also the greedy accuracy on the first `questions` questions of this level (it is then no untouched test set)."""
    questions: int = Field(default=200, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, here and as the default of `sbr eval --run`."""
    rule: Rule = "official"
    batch_size: int = Field(default=8, ge=1)
    """Questions looked at together, on each process."""


class ColdStartConfig(Section):
    """SFT before GRPO, on data.cot_file into <output_dir>/cold_start; GRPO starts from its final model, which is also
    the reference of the KL term."""

    train: SftTrainConfig = SftTrainConfig()
    validation: ValidationConfig = ValidationConfig()


class TrackConfig(Section):
    trackers: tuple[str, ...] = ()
    """accelerate trackers ("tensorboard", "wandb", "trackio"); metrics.jsonl is always written."""


class LogConfig(TrackConfig):
    completions_every: int = Field(default=10, ge=1)
    """Write the completions of every n-th step to completions.jsonl."""
