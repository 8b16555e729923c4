"""`sbr grpo`: post-train a model with GRPO."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console

from sbr.cli.progress import steps_progress
from sbr.config import GrpoRecipe, load_recipe
from sbr.train import run_folder

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sbr.train.metrics import StepMetrics


@dataclass(frozen=True)
class Args:
    """Post-train a model with GRPO on video questions, as a recipe says.

    Examples:
      sbr grpo recipes/mini/grpo.toml
      sbr grpo recipes/mini/grpo.toml --train.seed 3 --output_dir runs/seed3
      sbr grpo recipes/mini/grpo.toml --resume              continue after a crash or a kill, exactly
      sbr grpo recipes/mini/grpo.toml --help                every key of the recipe with its value
      sbr grpo recipes/mini/grpo.toml --lora.rank 16        train adapters only (LoRA)
      sbr grpo recipes/mini/grpo.toml --algo.name dapo      or dr_grpo, gspo, reg_grpo, grpo_care (docs/algorithms.md)
      sbr grpo recipes/mini/grpo.toml --reward.noise 0.2    a fifth of the training answers is wrong
      accelerate launch --num_processes 8 -m sbr grpo recipes/qwen2vl_7b/grpo.toml

    Any key of the recipe can be set on the command line.  The run folder (output_dir) then holds recipe.json,
    metrics.jsonl, completions.jsonl, checkpoint-<step>/ and final/.
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the newest checkpoint in output_dir."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr grpo` and train."""
    recipe, resume = parse(arguments)
    run_folder.check_start(recipe, resume)  # before anything slow is imported or loaded

    import transformers

    from sbr.train.loop import train_grpo

    transformers.utils.logging.disable_progress_bar()  # of loading and saving; ours shows the steps
    console = Console()
    is_main = os.environ.get("RANK", "0") == "0"  # set by `accelerate launch`
    if is_main:
        console.print(f"GRPO of {recipe.model.path} -> {recipe.output_dir}", highlight=False)
    with TrainingBar(console) as bar:
        train_grpo(recipe, resume, bar)
    if is_main:
        console.print(closing_text(recipe), highlight=False, soft_wrap=True)


def parse(arguments: list[str]) -> tuple[GrpoRecipe, bool]:
    """Return the recipe with its overrides, and whether to resume.

    `sbr grpo --help` explains the command; `sbr grpo RECIPE --help` lists the keys of the recipe.
    """
    words = [word for word in arguments if word != "--resume"]
    if not words or words[0].startswith("-"):
        # Prints help or what is missing, and exits.  Without `description` tyro drops the examples.
        args = tyro.cli(Args, args=words, prog="sbr grpo", description=inspect.getdoc(Args))
        return load_recipe(GrpoRecipe, args.recipe), "--resume" in arguments
    return load_recipe(GrpoRecipe, Path(words[0]), words[1:]), "--resume" in arguments


class TrainingBar:
    """A progress bar over the steps with the last reward and length; a `sbr.train.loop.Watcher`."""

    def __init__(self, console: Console) -> None:
        self._progress = steps_progress(console)
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, done: int, total: int) -> None:
        self._progress.start()
        self._task = self._progress.add_task("steps", total=total, completed=done, figures="")

    def stepped(self, metrics: StepMetrics) -> None:
        if self._task is not None:
            figures = f"reward {metrics.reward_mean:.2f}  length {metrics.tokens_mean:.0f}"
            self._progress.update(self._task, completed=metrics.step, figures=figures)


def closing_text(recipe: GrpoRecipe) -> str:
    """Say where everything lies and what to do next."""
    folder = recipe.output_dir
    return (
        f"Done.  The trained model lies in {folder / run_folder.FINAL}.\n"
        f"  {folder / run_folder.METRICS}      one line a step\n"
        f"  {folder / run_folder.COMPLETIONS}  answers to read\n"
        f"Next: sbr eval --run {folder}"
    )
