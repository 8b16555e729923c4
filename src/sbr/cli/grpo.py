"""`sbr grpo`: post-train a model with GRPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.cli.training import Training
from sbr.config.recipes import GrpoRecipe
from sbr.train import run_folder

if TYPE_CHECKING:
    from sbr.train.learner import Watcher


@dataclass(frozen=True)
class Args:
    """Post-train a model with GRPO on video questions, as a recipe says.

    Examples:
      sbr grpo recipes/mini/grpo.toml
      sbr grpo recipes/mini/grpo.toml --train.seed 3 --output_dir runs/seed3
      sbr grpo recipes/mini/grpo.toml --resume              continue after a crash or a kill, exactly
      sbr grpo recipes/mini/grpo.toml --help                every key of the recipe with its value
      sbr grpo recipes/mini/grpo.toml --lora.rank 16        train adapters only (LoRA)
      sbr grpo recipes/mini/sft_grpo.toml                   SFT first (section [cold_start]), then GRPO
      sbr grpo recipes/mini/grpo.toml --algo.name dapo      or dr_grpo, gspo, reg_grpo, grpo_care (docs/algorithms.md)
      sbr grpo recipes/mini/grpo.toml --validation.levels L1 L2 L3      curves of accuracy over the training
      sbr grpo recipes/mini/grpo.toml --validation.held_out 0.1 --validation.guard stop    end it when it becomes worse
      sbr grpo recipes/mini/grpo.toml --reward.noise 0.2    a fifth of the training answers is wrong
      accelerate launch --num_processes 8 -m sbr grpo recipes/qwen2vl_7b/grpo.toml

    Any key of the recipe can be set on the command line.  The run folder (output_dir) then holds recipe.json,
    metrics.jsonl, completions.jsonl, checkpoint-<step>/ and final/, and cold_start/ if there was one.
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the newest checkpoint in output_dir."""


def _load() -> Callable[[GrpoRecipe, bool, Watcher], None]:
    from sbr.train.grpo.loop import train_grpo

    return train_grpo


GRPO = Training(
    recipe=GrpoRecipe,
    args=Args,
    title=lambda recipe: f"GRPO of {recipe.model.path}",
    load=_load,
    journals={run_folder.METRICS: "one line a step", run_folder.COMPLETIONS: "answers to read"},
)
run = GRPO.run
