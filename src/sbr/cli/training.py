"""What `sbr grpo` and `sbr sft` share: the words after the verb, and the progress bar."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import tyro

from sbr.cli.progress import steps_progress
from sbr.config.explain import verb
from sbr.config.load import load_recipe
from sbr.config.recipes import TrainRecipe

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sbr.train.grpo.metrics import StepMetrics
    from sbr.train.sft.metrics import SftMetrics

RecipeT = TypeVar("RecipeT", bound=TrainRecipe)


class HasRecipe(Protocol):
    @property
    def recipe(self) -> Path: ...


def parse_training(kind: type[RecipeT], args_kind: type[HasRecipe], arguments: list[str]) -> tuple[RecipeT, bool]:
    """Return the recipe with its overrides, and whether to resume.

    `sbr VERB --help` explains the command; `sbr VERB RECIPE --help` lists the keys of the recipe.
    """
    words = [word for word in arguments if word != "--resume"]
    if not words or words[0].startswith("-"):
        # Prints help or what is missing, and exits.  Without `description` tyro drops the examples.
        args = tyro.cli(args_kind, args=words, prog=verb(kind), description=inspect.getdoc(args_kind))
        return load_recipe(kind, args.recipe), "--resume" in arguments
    return load_recipe(kind, Path(words[0]), words[1:]), "--resume" in arguments


class TrainingBar:
    """A bar over the steps with the last figures; a `sbr.train.run.Watcher`.  A cold start has a line of its own."""

    def __init__(self) -> None:
        self._progress = steps_progress()
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, done: int, total: int) -> None:
        self._progress.start()
        self._task = self._progress.add_task("steps", total=total, completed=done, figures="")

    def stepped(self, metrics: StepMetrics | SftMetrics) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=metrics.step, figures=figures(metrics))


def figures(metrics: StepMetrics | SftMetrics) -> str:
    """The last figures in a few words, e.g. "reward 0.52  length 31" or "loss 0.412"."""
    from sbr.train.sft.metrics import SftMetrics

    if not isinstance(metrics, SftMetrics):
        return f"reward {metrics.reward_mean:.2f}  length {metrics.tokens_mean:.0f}"
    words = [f"loss {metrics.loss:.3f}"]
    words += [] if metrics.held_out_loss is None else [f"held out {metrics.held_out_loss:.3f}"]
    words += [] if metrics.accuracy is None else [f"{100 * metrics.accuracy:.1f} % right"]
    return "  ".join(words)
