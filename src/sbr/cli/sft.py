"""`sbr sft RECIPE`: supervised fine-tuning on chains of thought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.cli.training import Training
from sbr.config.recipes import SftRecipe
from sbr.train import run_folder

if TYPE_CHECKING:
    from sbr.train.learner import Watcher


@dataclass(frozen=True)
class Args:
    """Fine-tune a model on the responses of a CoT file (training_with_cot_6k.jsonl), as a recipe says.

    Examples:
      sbr sft recipes/mini/sft.toml
      sbr sft recipes/mini/sft.toml --data.cot_file runs/mini/cot.jsonl --output_dir runs/mine
      sbr sft recipes/mini/sft.toml --resume                continue after a crash or a kill, exactly
      sbr sft recipes/mini/sft.toml --help                  every key of the recipe with its value
      sbr sft recipes/mini/sft.toml --validation.share 0.1 --validation.levels L1    look at the model while it learns
      sbr sft recipes/mini/sft.toml --lora.rank 16          train adapters only (LoRA)
      accelerate launch --num_processes 8 -m sbr sft recipes/qwen2vl_7b/sft.toml

    Any key of the recipe can be set on the command line.  The run folder (output_dir) then holds recipe.json,
    metrics.jsonl, checkpoint-<step>/ and final/.  SFT and then GRPO in one run: `sbr grpo`, section [cold_start].
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the newest checkpoint in output_dir."""


def _load() -> Callable[[SftRecipe, bool, Watcher], None]:
    from sbr.train.sft.loop import train_sft

    return train_sft


SFT = Training(
    recipe=SftRecipe,
    args=Args,
    title=lambda recipe: f"SFT of {recipe.model.path} on {recipe.data.cot_file}",
    load=_load,
    journals={run_folder.METRICS: "one line a step"},
)
run = SFT.run
