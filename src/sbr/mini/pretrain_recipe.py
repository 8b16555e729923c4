"""What the training of the miniature's base model depends on; apart from it, so that a recipe is refused at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sbr.config.inputs import FramesConfig, PromptConfig
from sbr.config.section import Section
from sbr.errors import ConfigError


class Phase(Section):
    """A stretch of training with a fixed mixture: how many lessons of each kind an optimizer step holds."""

    steps: int = Field(ge=1)
    captions: int = Field(default=0, ge=0)
    most_actions: int = Field(default=1, ge=1, le=7)
    """Longest clip of a caption, in actions."""
    drills: int = Field(default=0, ge=0)
    lookups: int = Field(default=0, ge=0)
    questions: int = Field(default=0, ge=0)
    responses: int = Field(default=4, ge=1)
    """Answers to one lookup or question."""
    looks: float | None = Field(default=None, ge=0, le=1)
    """Share of grounded answers to questions of most tasks; None: the habits of the base model (`corpus.habit`)."""


class PretrainRecipe(Section):
    """`sbr mini pretrain RECIPE`"""

    output_dir: Path
    seed: int = 0
    phases: tuple[Phase, ...] = Field(min_length=1)
    frames: FramesConfig = FramesConfig(height=84, width=84)
    prompt: PromptConfig = PromptConfig()
    muon_learning_rate: float = Field(default=1e-2, gt=0)
    adamw_learning_rate: float = Field(default=1.5e-3, gt=0)
    warmup_steps: int = Field(default=50, ge=0)
    letter_weight: float = Field(default=1.0, gt=0)
    """Weight of the letter among the answer's tokens."""
    pictures: int = Field(default=3000, ge=1)
    """Clips in the pool of each kind."""
    workers: int = Field(default=1, ge=0)
    """Processes that draw lessons; 0 draws them in the training process."""

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


def refuse_used_folder(recipe: PretrainRecipe) -> None:
    """Raises ConfigError if `recipe.output_dir` holds a run already."""
    if (recipe.output_dir / "metrics.jsonl").exists():
        raise ConfigError(
            f"{recipe.output_dir} already holds a pretraining run; remove it or choose another output_dir"
        )
