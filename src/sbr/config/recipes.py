"""Recipes: the sections that each command takes."""

from __future__ import annotations

from pydantic import model_validator

from sbr.config.algo import AlgoConfig, GrpoAlgo
from sbr.config.asking import DistillConfig, EngineConfig, EvalConfig
from sbr.config.budgets import check_pass, check_step
from sbr.config.inputs import DataConfig, FramesConfig, LoraConfig, ModelConfig, PromptConfig
from sbr.config.section import Place, Section
from sbr.config.training import (
    ColdStartConfig,
    GrpoValidationConfig,
    LogConfig,
    RewardConfig,
    RolloutConfig,
    SftTrainConfig,
    SftValidationConfig,
    TrackConfig,
    TrainConfig,
    ValidationConfig,
)


class TrainRecipe(Section):
    """What every training run is made of.  A recipe may have more in a section than this says: it is frozen, so the
    type checker's objection to narrower fields does not hold."""

    model: ModelConfig
    """The model that is trained."""
    data: DataConfig
    """The benchmark on disk."""
    output_dir: Place
    """Folder of the run."""
    frames: FramesConfig = FramesConfig()
    """How a video becomes pictures."""
    prompt: PromptConfig = PromptConfig()
    """How long a prompt may be."""
    lora: LoraConfig | None = None
    """Adapters instead of all weights."""
    train: TrainConfig = TrainConfig()
    """Steps, optimizer, checkpoints."""
    validation: ValidationConfig = ValidationConfig()
    """Looks at the model while it learns."""
    log: TrackConfig = TrackConfig()
    """What is written down."""

    def own_functions(self) -> list[tuple[str, str]]:
        """(key, "module:function") of all that is the user's own code."""
        return []


class GrpoRecipe(TrainRecipe):
    """`sbr grpo RECIPE`"""

    rollout: RolloutConfig = RolloutConfig()
    """How completions are drawn."""
    reward: RewardConfig = RewardConfig()
    """What a completion earns."""
    algo: AlgoConfig = GrpoAlgo()
    """How the model learns from it."""
    validation: GrpoValidationConfig = GrpoValidationConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Looks at the model while it learns."""
    log: LogConfig = LogConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What is written down."""
    cold_start: ColdStartConfig | None = None
    """SFT before GRPO."""

    @model_validator(mode="after")
    def _fits(self) -> GrpoRecipe:
        answers, tokens = self.rollout.group_size, self.rollout.max_new_tokens
        keys = "train.prompts_per_microbatch x rollout.group_size x rollout.max_new_tokens"
        check_pass(self.train.prompts_per_microbatch, self.frames.sample_bytes, answers, tokens, keys)
        check_step(self.train.prompts_per_step, answers, tokens)
        return self

    def own_functions(self) -> list[tuple[str, str]]:
        named = [("algo.name", self.algo.name), ("rollout.sampler", self.rollout.sampler)]
        return [(key, name) for key, name in named if ":" in name] + [
            ("reward.custom", name) for name in self.reward.custom
        ]


class SftRecipe(TrainRecipe):
    """`sbr sft RECIPE`"""

    train: SftTrainConfig = SftTrainConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Steps, optimizer, checkpoints."""
    validation: SftValidationConfig = SftValidationConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Looks at the model while it learns."""


class AskingRecipe(Section):
    """What every run that asks questions is made of."""

    model: ModelConfig
    """The model that is asked; a name at the server with engine.kind endpoint."""
    data: DataConfig
    """The benchmark on disk."""
    output_dir: Place
    """Folder of the answers."""
    frames: FramesConfig = FramesConfig()
    """How a video becomes pictures."""
    prompt: PromptConfig = PromptConfig()
    """How long a prompt may be."""
    engine: EngineConfig = EngineConfig()
    """Who answers."""


class EvalRecipe(AskingRecipe):
    """`sbr eval RECIPE`"""

    eval: EvalConfig = EvalConfig()
    """What is asked, and how it is scored."""

    @model_validator(mode="after")
    def _fits(self) -> EvalRecipe:
        asked, keys = self.eval, "eval.batch_size x eval.samples x eval.max_new_tokens"
        check_pass(asked.batch_size, self.frames.sample_bytes, asked.samples, asked.max_new_tokens, keys)
        return self


class DistillRecipe(AskingRecipe):
    """`sbr distill RECIPE`"""

    distill: DistillConfig = DistillConfig()
    """What the teacher, model.path, is asked, and which answers are kept."""

    @model_validator(mode="after")
    def _fits(self) -> DistillRecipe:
        asked, keys = self.distill, "distill.batch_size x distill.samples x distill.max_new_tokens"
        check_pass(asked.batch_size, self.frames.sample_bytes, asked.samples, asked.max_new_tokens, keys)
        return self
