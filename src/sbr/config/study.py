"""`sbr study STUDY`: what a study file holds.  Whether its stages fit together is checked in `sbr.study.graph`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sbr.config.section import Place, Plain, Section, Seed, Text

BASE = "base"
"""Reserved name: the checkpoint that post-training begins with, as it is."""


def _folder_name(name: Any) -> Any:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.lower() == BASE:
        raise PydanticCustomError(
            "folder_name",
            "expected the name of a folder: letters, digits, and . _ - after the first one, 64 at most, and not base",
        )
    return name


def _arm_name(name: Any) -> Any:
    if not 1 <= len(name) <= 100 or name != name.strip():
        raise PydanticCustomError("arm_name", "expected 1 to 100 characters without blanks around them")
    return name


Name = Annotated[str, AfterValidator(_folder_name)]
"""Of a base or stage: its folder has this name."""
Arm = Annotated[Text, AfterValidator(_arm_name)]


class StageConfig(Section):
    """A distillation or a training, for every base."""

    run: Literal["distill", "sft", "grpo"]
    """The verb that takes the recipe."""
    recipe: Place
    """The recipe's file: relative to the study file, or one of the package (recipes/mini/sft.toml)."""
    seeds: Literal["each", "shared"] = "each"
    """each: a run for every seed of the study, which is its train.seed (of a distillation its distill.seed).  shared:
    one run for all seeds, with the seed of its recipe."""
    model: Text = BASE
    """The stage whose final model is taken: the one that is trained, or the teacher of a distillation."""
    rows: Text | None = None
    """The distillation whose rows are learned: of run sft, and of grpo with a cold start."""
    set: Plain = Field(default_factory=dict)
    """Keys of the recipe, as on the command line; they win over those of the study."""


class StudyEvalConfig(Section):
    """The evaluation of every arm's final models."""

    recipe: Place
    """The recipe's file, found as that of a stage is."""
    set: Plain = Field(default_factory=dict)
    """Keys of the recipe."""


class StudyConfig(Section):
    """`sbr study STUDY`"""

    output_dir: Place
    """Folder of all runs."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000)]
    """Of post-training."""
    bases: Annotated[dict[Name, Text], Field(min_length=1, max_length=100)]
    """Checkpoints that post-training begins with, by name: folders, hub names or sbr:mini."""
    set: Plain = Field(default_factory=dict)
    """Keys that all recipes have, such as "data.root"."""
    stages: Annotated[dict[Name, StageConfig], Field(max_length=1000)] = Field(default_factory=dict)
    """By name."""
    arms: Annotated[dict[Arm, Text], Field(min_length=1, max_length=1000)]
    """What is compared: a name for tables, and the stage whose final model is evaluated, or base."""
    eval: StudyEvalConfig
    """How they are evaluated."""
