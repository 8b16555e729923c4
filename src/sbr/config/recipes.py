"""Recipes: the sections that each command takes."""

from __future__ import annotations

from pathlib import Path

from sbr.config.algo import AlgoConfig, GrpoAlgo
from sbr.config.asking import DistillConfig, EngineConfig, EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, LoraConfig, ModelConfig, PromptConfig
from sbr.config.section import Section
from sbr.config.training import (
    ColdStartConfig,
    LogConfig,
    RewardConfig,
    RolloutConfig,
    SftTrainConfig,
    TrackConfig,
    TrainConfig,
    ValidationConfig,
)


class TrainRecipe(Section):
    """What every training run is made of.  A recipe may have more in a section than this says: it is frozen, so the
    type checker's objection to narrower fields does not hold."""

    model: ModelConfig
    data: DataConfig
    output_dir: Path
    frames: FramesConfig = FramesConfig()
    prompt: PromptConfig = PromptConfig()
    lora: LoraConfig | None = None
    train: TrainConfig = TrainConfig()
    log: TrackConfig = TrackConfig()


class GrpoRecipe(TrainRecipe):
    """`sbr grpo RECIPE`"""

    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    algo: AlgoConfig = GrpoAlgo()
    log: LogConfig = LogConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    cold_start: ColdStartConfig | None = None


class SftRecipe(TrainRecipe):
    """`sbr sft RECIPE`"""

    train: SftTrainConfig = SftTrainConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    validation: ValidationConfig = ValidationConfig()


class AskingRecipe(Section):
    """What every run is made of that asks a model questions."""

    model: ModelConfig
    data: DataConfig
    output_dir: Path
    frames: FramesConfig = FramesConfig()
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()


class EvalRecipe(AskingRecipe):
    """`sbr eval RECIPE`"""

    eval: EvalConfig = EvalConfig()


class DistillRecipe(AskingRecipe):
    """`sbr distill RECIPE`"""

    model: ModelConfig
    """The teacher."""
    distill: DistillConfig = DistillConfig()
