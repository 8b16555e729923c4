"""What `sbr analyze attention` looks at, and the evaluation that it looks into."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig, PromptConfig
from sbr.config.section import Control, Count, Rate, Section, Seed

LayerNumber = Annotated[int, Field(ge=0, lt=1000)]
HeadNumber = Annotated[int, Field(ge=0, lt=100_000)]


class AttentionConfig(Section):
    per_level: Count | None = 50
    """At most so many questions a level, drawn by a hash of their names, the same for every run (None: all)."""
    layers: tuple[LayerNumber, ...] | None = None
    """Layers whose mean the maps are (None: the middle third).  Shares are recorded in every layer."""
    heads: tuple[HeadNumber, ...] | None = None
    """Query heads that means are over, in every layer (None: all)."""
    fractions: tuple[Rate, ...] = (0.1, 0.3)
    """Shares of the visual tokens that are painted over (none named: no effects)."""
    randoms: Annotated[int, Field(ge=1, le=64)] = 4
    """Random choices that the most attended tokens are compared with."""
    seed: Seed = 0
    """Of these choices."""
    without_sinks: bool = False
    """Leave tokens that are flagged as sinks out of rankings and random choices."""

    @field_validator("layers", "heads", "fractions")
    @classmethod
    def _each_once(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and len(set(values)) != len(values):
            raise ValueError("each may be named once")
        return None if values is None else tuple(sorted(values))

    @field_validator("layers", "heads")
    @classmethod
    def _at_least_one(cls, values: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if values == ():
            raise ValueError("name at least one, or leave it out")
        return values


class AttentionRecipe(Section):
    """What decides the content of RUN/attention."""

    model: ModelConfig
    """The model that answered."""
    data: DataConfig
    """What it was asked."""
    frames: FramesConfig
    """What it saw."""
    prompt: PromptConfig
    """How long its prompts might be."""
    control: Control
    """What was taken away from the questions."""
    attention: AttentionConfig
    """What is looked at."""
