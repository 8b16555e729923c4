"""What the training of the miniature's base model depends on; apart from it, so that a recipe is refused at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sbr.config.inputs import FramesConfig, PromptConfig
from sbr.config.section import Answers, Count, Place, Rate, Section, Share
from sbr.errors import ConfigError

Lessons = Annotated[int, Field(ge=0, le=4096)]
"""In one optimizer step."""


class Phase(Section):
    """A stretch of training with a fixed mixture: how many lessons of each kind an optimizer step holds."""

    steps: Count
    """Optimizer steps."""
    captions: Lessons = 0
    """Lessons that name the actions of a clip."""
    most_actions: Annotated[int, Field(ge=1, le=7)] = 1
    """Longest clip of a caption, in actions."""
    drills: Lessons = 0
    """Lessons of four options, which one is next, and its letter; no pictures."""
    lookups: Lessons = 0
    """Lessons that reason from a made-up observation; no pictures."""
    questions: Lessons = 0
    """Lessons as the benchmark asks."""
    responses: Answers = 4
    """Answers to one lookup or question."""
    looks: Share | None = None
    """Share of grounded answers to questions of most tasks; None: the habits of the base model (`corpus.habit`)."""


class PretrainRecipe(Section):
    """`sbr mini pretrain RECIPE`"""

    output_dir: Place
    """Folder of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the lessons and the first weights."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    """Stretches of training, one after the other; in a recipe file only."""
    frames: FramesConfig = FramesConfig(height=84, width=84)
    """How a video becomes pictures."""
    prompt: PromptConfig = PromptConfig()
    """How long a prompt may be."""
    muon_learning_rate: Rate = 1e-2
    """Of the matrices inside the layers."""
    adamw_learning_rate: Rate = 1.5e-3
    """Of everything else."""
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 50
    """Steps over which the learning rates rise from 0."""
    letter_weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Weight of the letter among the answer's tokens."""
    pictures: Annotated[int, Field(ge=1, le=10**6)] = 3000
    """Clips in the pool of each kind."""
    workers: Annotated[int, Field(ge=0, le=256)] = 1
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
