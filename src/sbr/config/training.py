"""Sections of training.  Defaults are the official setting of arXiv 2503.24376."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sbr.config.addresses import check_addresses, holds_password
from sbr.config.named import Named, SamplerName
from sbr.config.section import (
    Answers,
    BatchSize,
    Count,
    Level,
    NewTokens,
    Place,
    Rate,
    Rule,
    Section,
    Seed,
    Share,
    SharePart,
    Text,
    TopK,
    Weight,
)


class VllmSamplerConfig(Section):
    urls: tuple[Text, ...] = ()
    """Servers of vLLM that run elsewhere, such as http://10.0.0.7:8000, started as docs/pipeline.md says (none: every
    process starts one on its own GPU, which sleeps while training)."""
    weights_folder: Place | None = None
    """Where weights are handed over; trainer and servers both see it, and it holds the model once (None: /dev/shm)."""
    gpu_memory: Rate = 0.4
    """Of a server that is started here: share of the GPU's memory that it may use while it draws."""
    eager: bool = False
    """Of a server that is started here: no compilation and no CUDA graphs; starts faster, answers slower."""
    timeout: Annotated[float, Field(gt=0, le=86400)] = 1800.0
    """Seconds that a server may take for a request, or to load the weights."""

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        if any(holds_password(url) for url in self.urls):  # they are saved with the run and shown in messages
            raise ValueError("urls holds a user or password; leave out what stands before the @")
        if self.urls:
            check_addresses("urls", self.urls)
        return self


class RolloutConfig(Section):
    sampler: SamplerName = "native"
    """Who draws the completions: native, the weights at hand; vllm; or "module:function" of your own, which is given
    the trainer's model, the processor and the recipe and returns an `sbr.rollout.sampler.Sampler`."""
    vllm: VllmSamplerConfig = VllmSamplerConfig()
    """Of sampler vllm."""
    ahead: bool = False
    """Draw the completions of the next step while this one is learned from, by a policy that is one step older.  Needs
    a sampler that computes elsewhere (rollout.vllm.urls) and algo.importance."""
    group_size: Answers = 8
    """Completions of every prompt, which are compared with each other."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Logits are divided by it, in rollouts and in training."""
    top_p: Rate = 1.0
    """Draw from the smallest set of likeliest tokens that holds this probability."""
    top_k: TopK = 0
    """Draw from so many of the likeliest tokens; 0 keeps the whole vocabulary."""
    max_new_tokens: NewTokens = 256
    """Longest completion."""
    twin: bool | None = None
    """Draw from a copy of the weights that is made for every rollout: rounded once to model.dtype where passes round
    them anyway, adapters added.  Default: where weights are cut into parts, and on a GPU where float32 weights would be
    rounded in every step.  With adapters in 16 bits the sum is rounded too, which training does not do: look at
    rollout_mismatch, and weigh with algo.importance."""
    compile: bool = False
    """Run the decoding steps through torch.compile with static shapes: for GPUs and weights in 16 bits (float32 weights
    would be converted in every step).  The first steps take a minute more."""
    graphs: bool = False
    """Replay the decoding steps as one CUDA graph, with or without compile: on a GPU only, of the native sampler."""

    @model_validator(mode="after")
    def _servers_of_vllm(self) -> Self:
        if self.vllm.urls and self.sampler != "vllm":
            raise ValueError(f'vllm.urls names servers for sampler "vllm", and sampler is "{self.sampler}"')
        return self


class RewardConfig(Section):
    """The reward is the sum of weight * part; every part is logged, whatever its weight."""

    rule: Rule = "official"
    """How answers are read (sbr.reward.answer)."""
    accuracy_weight: Weight = 1.0
    """1 when the answer is the rewarded letter."""
    format_weight: Weight = 0.0
    """1 when the whole response is <think>...</think><answer>...</answer>."""
    consistency_weight: Weight = 0.0
    """1 when the reasoning ends at the chosen option, 0 when it contradicts it, 0.5 when a rule cannot tell."""
    length_weight: Weight = 0.0
    """0 for a short answer, down to -1 at rollout.max_new_tokens (DAPO's soft overlong punishment)."""
    length_share: Annotated[float, Field(ge=0.001, le=1)] = 0.2
    """The part of rollout.max_new_tokens over which the length reward falls."""
    custom: dict[Named, Weight] = Field(default_factory=dict)
    """Rewards of your own, "module:function" with its weight.  function(text, sample, tokens) gives a number."""
    noise: Share = 0.0
    """Share of training questions whose gold letter is replaced by another one, to study robustness.  Also of those
    that validation.held_out holds out, never of validation.levels."""
    noise_seed: Seed = 0
    """Which questions those are; they do not depend on train.seed."""


Sharding = Literal["auto", "none", "full", "hybrid"]


class TrainConfig(Section):
    prompts_per_step: BatchSize = 8
    """Prompts of one optimizer step, over all processes."""
    prompts_per_microbatch: BatchSize = 1
    """Prompts of one forward/backward pass of one process; gradients accumulate up to `prompts_per_step`."""
    completions_per_microbatch: BatchSize | None = None
    """Cut a group whose pass does not fit in memory: so many of its completions at a time, the prompt computed again
    with each part (None: whole groups).  Needs prompts_per_microbatch 1; the gradient is the same."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 1
    """How often every row is seen."""
    max_steps: Count | None = None
    """Take so many steps, over as many epochs as needed (None: `epochs` decides).  The schedule spans these steps."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """adamw_8bit keeps the moments of matrices in 8 bits (torchao): 10 instead of 16 bytes a trained parameter.  It
    compiles its step, so a CPU needs a C++ compiler."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 trains the weights in 16 bits: 6 bytes a parameter.  Needs adamw_8bit, which then rounds stochastically,
    so that steps below the resolution of a weight are kept on average.  Moments of biases and norms are float32.  One
    process only."""
    sharding: Sharding = "auto"
    """Cut weights, gradients and moments over the processes (FSDP2): none, a copy on each; full, over all; hybrid, over
    those of a node, a copy on each node; auto, none where a copy takes at most half of the memory of a process, else
    full on one node and hybrid on several."""
    learning_rate: Rate = 1e-6
    """The highest one, after warm-up."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate goes after warm-up: to 0, or not at all."""
    warmup_ratio: SharePart = 0.0
    """Share of the steps over which the learning rate rises from 0."""
    weight_decay: Share = 0.0
    """Of AdamW, on matrices only."""
    adam_beta1: SharePart = 0.9
    """Weight of the old mean of the gradient."""
    adam_beta2: SharePart = 0.999
    """Weight of the old mean of its square."""
    deadline: Annotated[float, Field(ge=0.01, le=10_000)] = 60.0
    """Minutes that one phase (loading, frames, rollout, reference, update, saving, ...) may last before the process
    says where it stands and ends."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """A longer gradient is scaled down to this length."""
    seed: Seed = 0
    """Of the order of rows, of the completions, of held-out questions and of new adapters."""
    save_every: Count = 100
    """Optimizer steps between checkpoints; the last step is always saved."""
    keep_checkpoints: Count = 2
    """The newest ones are kept."""

    @model_validator(mode="after")
    def _one_prompt_where_groups_are_cut(self) -> Self:
        if self.completions_per_microbatch is not None and self.prompts_per_microbatch != 1:
            raise ValueError(
                "completions_per_microbatch cuts a group into parts, so prompts_per_microbatch has to be 1, not "
                f"{self.prompts_per_microbatch}"
            )
        return self


class SftTrainConfig(TrainConfig):
    """Official sft configuration: 8 GPUs x 1 x 16 rows a step, learning rate 2e-5, cosine with warm-up over a tenth."""

    prompts_per_step: BatchSize = 128
    """Prompts of one optimizer step, over all processes, each with all its responses."""
    learning_rate: Rate = 2e-5
    """The highest one, after warm-up."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """How the learning rate goes after warm-up: to 0, or not at all."""
    warmup_ratio: SharePart = 0.1
    """Share of the steps over which the learning rate rises from 0."""


class ValidationConfig(Section):
    """Looks at the model while it learns; they change nothing of what is learned."""

    every: Count = 50
    """Steps between looks; the last step is always looked at."""
    levels: tuple[Level, ...] = ()
    """Greedy accuracy on the first `questions` questions of each (they are then no untouched test set)."""
    questions: Count = 200
    """How many of a level."""
    max_new_tokens: NewTokens = 256
    """Longest answer."""
    rule: Rule = "official"
    """How answers are read (sbr.reward.answer)."""
    batch_size: BatchSize = 8
    """Questions looked at together, on each process."""


class GrpoValidationConfig(ValidationConfig):
    held_out: SharePart = 0.0
    """Share of the training questions that are not trained on but asked like those of a level ("held_out"): whole uncut
    videos, drawn with train.seed.  Their golds are those of the training file, reward.noise included."""
    guard: Literal["off", "warn", "stop"] = "warn"
    """What happens when the run has significantly fewer of all these questions right than at its start or at its best
    look (docs/algorithms.md): off, nothing; warn, a warning; stop, it ends, and final/ is the model of the best look,
    which is kept as best-<step>/ meanwhile.  Adds a look before the first step."""
    guard_alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """How probable an alarm of the guard may be, over all looks together, in a run that does not get worse."""


class SftValidationConfig(ValidationConfig):
    """max_new_tokens and rule are also the defaults of `sbr eval --run`."""

    every: Count = 10
    """Steps between looks; the last step is always looked at."""
    share: SharePart = 0.0
    """Share of the questions whose responses are not trained on but measured: whole uncut videos, drawn with
    train.seed."""


class ColdStartConfig(Section):
    """SFT before GRPO, on data.cot_file into <output_dir>/cold_start; GRPO starts from its final model, which is also
    the reference of the KL term."""

    train: SftTrainConfig = SftTrainConfig()
    """Steps of the cold start."""
    validation: SftValidationConfig = SftValidationConfig()
    """Looks while it goes on."""


class TrackConfig(Section):
    trackers: tuple[Text, ...] = ()
    """accelerate trackers ("tensorboard", "wandb", "trackio"); metrics.jsonl is always written."""


class LogConfig(TrackConfig):
    completions_every: Count = 10
    """Write the completions of every n-th step to completions.jsonl."""
