"""The verbs that take long as functions of a recipe: what they are for `sbr demo` and `sbr study`.

Each begins, continues, or finds finished what lies in the output folder of the recipe, and refuses what is of another
recipe.  Imports nothing heavy before it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sbr.cli.progress import Bars
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe

if TYPE_CHECKING:
    from sbr.distill.report import Report


def do(recipe: DistillRecipe | SftRecipe | GrpoRecipe | EvalRecipe, bars: Callable[[], Bars]) -> None:
    """What the recipe is for."""
    if isinstance(recipe, DistillRecipe):
        distil(recipe, bars)
    elif isinstance(recipe, EvalRecipe):
        ask(recipe, bars)
    else:
        train(recipe, bars)


def train(recipe: SftRecipe | GrpoRecipe, bars: Callable[[], Bars]) -> None:
    """`sbr sft` or `sbr grpo`, with --resume where a run has begun."""
    from sbr.cli.console import quiet_transformers
    from sbr.cli.training import TrainingBar
    from sbr.train import run_folder
    from sbr.train.grpo.loop import train_grpo
    from sbr.train.sft.loop import train_sft

    quiet_transformers()
    resume = run_folder.holds_run(recipe.output_dir)
    with TrainingBar(bars) as bar:
        if isinstance(recipe, GrpoRecipe):
            train_grpo(recipe, resume, bar)
        else:
            train_sft(recipe, resume, bar)


def distil(recipe: DistillRecipe, bars: Callable[[], Bars]) -> Report:
    """`sbr distill`"""
    from sbr.cli.asking import AskingBar, KeptSoFar
    from sbr.cli.console import quiet_transformers
    from sbr.distill.runner import distill

    quiet_transformers()
    with AskingBar(KeptSoFar(recipe.distill), bars) as bar:
        return distill(recipe, bar)


def ask(recipe: EvalRecipe, bars: Callable[[], Bars]) -> None:
    """`sbr eval`, table.md included."""
    from sbr.cli.console import quiet_transformers
    from sbr.cli.eval import evaluate_and_tabulate

    quiet_transformers()
    evaluate_and_tabulate(recipe, bars)
