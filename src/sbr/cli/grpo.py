"""`sbr grpo`: post-train a model with GRPO."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.cli.console import Terminal, quiet_transformers
from sbr.cli.early import refuse_early
from sbr.cli.training import TrainingBar, parse_training
from sbr.config.recipes import GrpoRecipe
from sbr.train import run_folder


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
      sbr grpo recipes/mini/grpo.toml --reward.noise 0.2    a fifth of the training answers is wrong
      accelerate launch --num_processes 8 -m sbr grpo recipes/qwen2vl_7b/grpo.toml

    Any key of the recipe can be set on the command line.  The run folder (output_dir) then holds recipe.json,
    metrics.jsonl, completions.jsonl, checkpoint-<step>/ and final/, and cold_start/ if there was one.
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the newest checkpoint in output_dir."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr grpo` and train."""
    recipe, resume = parse(arguments)
    run_folder.check_start(recipe, resume)  # before anything slow is imported or loaded
    refuse_early(recipe)

    from sbr.train.grpo.loop import train_grpo

    quiet_transformers()
    console = Terminal()
    is_main = os.environ.get("RANK", "0") == "0"  # set by `accelerate launch`
    if is_main:
        console.print(f"GRPO of {recipe.model.path} -> {recipe.output_dir}")
    with TrainingBar() as bar:
        train_grpo(recipe, resume, bar)
    if is_main:
        console.print(closing_text(recipe), soft_wrap=True)


def parse(arguments: list[str]) -> tuple[GrpoRecipe, bool]:
    return parse_training(GrpoRecipe, Args, arguments)


def closing_text(recipe: GrpoRecipe) -> str:
    """Say where everything lies and what to do next."""
    folder = recipe.output_dir
    return (
        f"Done.  The trained model lies in {folder / run_folder.FINAL}.\n"
        f"  {folder / run_folder.METRICS}      one line a step\n"
        f"  {folder / run_folder.COMPLETIONS}  answers to read\n"
        f"Next: sbr eval --run {folder}"
    )
