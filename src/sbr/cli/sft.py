"""`sbr sft RECIPE`: supervised fine-tuning on chains of thought."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.cli.console import Terminal, quiet_transformers
from sbr.cli.early import refuse_early
from sbr.cli.training import TrainingBar, parse_training
from sbr.config.recipes import SftRecipe
from sbr.train import run_folder


@dataclass(frozen=True)
class Args:
    """Fine-tune a model on the responses of a CoT file (training_with_cot_6k.jsonl), as a recipe says.

    Examples:
      sbr sft recipes/mini/sft.toml
      sbr sft recipes/mini/sft.toml --data.cot_file runs/mini/cot.jsonl --output_dir runs/mine
      sbr sft recipes/mini/sft.toml --resume                continue after a crash or a kill, exactly
      sbr sft recipes/mini/sft.toml --help                  every key of the recipe with its value
      sbr sft recipes/mini/sft.toml --validation.share 0.1 --validation.level L1    look at the model while it learns
      sbr sft recipes/mini/sft.toml --lora.rank 16          train adapters only (LoRA)
      accelerate launch --num_processes 8 -m sbr sft recipes/qwen2vl_7b/sft.toml

    Any key of the recipe can be set on the command line.  The run folder (output_dir) then holds recipe.json,
    metrics.jsonl, checkpoint-<step>/ and final/.  SFT and then GRPO in one run: `sbr grpo`, section [cold_start].
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the newest checkpoint in output_dir."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr sft` and train."""
    recipe, resume = parse(arguments)
    run_folder.check_start(recipe, resume)  # before anything slow is imported or loaded
    refuse_early(recipe)

    from sbr.train.sft.loop import train_sft

    quiet_transformers()
    console = Terminal()
    is_main = os.environ.get("RANK", "0") == "0"  # set by `accelerate launch`
    if is_main:
        console.print(f"SFT of {recipe.model.path} on {recipe.data.cot_file} -> {recipe.output_dir}")
    with TrainingBar() as bar:
        train_sft(recipe, resume, bar)
    if is_main:
        console.print(closing_text(recipe), soft_wrap=True)


def parse(arguments: list[str]) -> tuple[SftRecipe, bool]:
    return parse_training(SftRecipe, Args, arguments)


def closing_text(recipe: SftRecipe) -> str:
    """Say where everything lies and what to do next."""
    folder = recipe.output_dir
    return (
        f"Done.  The fine-tuned model lies in {folder / run_folder.FINAL}.\n"
        f"  {folder / run_folder.METRICS}  one line a step\n"
        f"Next: sbr eval --run {folder}"
    )
