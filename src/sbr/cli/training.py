"""`sbr grpo` and `sbr sft` are one command with two descriptions: parse, refuse, train, say where everything lies."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import tyro

from sbr.cli.console import Terminal, quiet_transformers
from sbr.cli.early import refuse_early
from sbr.cli.planned import Planned
from sbr.cli.progress import Bars, steps_progress
from sbr.config.explain import verb
from sbr.config.load import load_recipe
from sbr.config.recipes import TrainRecipe
from sbr.train import run_folder
from sbr.train.best import stopped_by_guard

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sbr.train.learner import Metrics, Watcher

RecipeT = TypeVar("RecipeT", bound=TrainRecipe)


class HasRecipe(Protocol):
    @property
    def recipe(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class Training(Generic[RecipeT]):
    """A way of training as a command."""

    recipe: type[RecipeT]
    args: type[HasRecipe]
    """Its docstring is what --help prints."""
    title: Callable[[RecipeT], str]
    """What is trained on what, e.g. "GRPO of sbr:mini"."""
    load: Callable[[], Callable[[RecipeT, bool, Watcher], None]]
    """Imports torch and returns the function that trains."""
    journals: dict[str, str]
    """Journals of the run folder and what they hold."""

    def parse(self, arguments: list[str]) -> tuple[RecipeT, bool]:
        """Return the recipe with its overrides, and whether to resume.

        `sbr VERB --help` explains the command; `sbr VERB RECIPE --help` lists the keys of the recipe.
        """
        words = [word for word in arguments if word != "--resume"]
        if not words or words[0].startswith("-"):
            # Prints help or what is missing, and exits.  Without `description` tyro drops the examples.
            args = tyro.cli(self.args, args=words, prog=verb(self.recipe), description=inspect.getdoc(self.args))
            return load_recipe(self.recipe, args.recipe), "--resume" in arguments
        return load_recipe(self.recipe, Path(words[0]), words[1:]), "--resume" in arguments

    def run(self, arguments: list[str]) -> None:
        """Parse the words after the verb and train."""
        recipe, resume = self.parse(arguments)
        resume = resume or (_started_again() and run_folder.holds_run(recipe.output_dir))
        run_folder.check_start(recipe, resume)  # before anything slow is imported or loaded
        refuse_early(recipe)
        train = self.load()
        quiet_transformers()
        console = Terminal()
        is_main = os.environ.get("RANK", "0") == "0"  # set by the launchers
        if is_main:
            console.print(f"{self.title(recipe)} -> {recipe.output_dir}")
            if shares_store(os.environ):
                console.print(SHARED_STORE, soft_wrap=True)
        with TrainingBar() as bar:
            train(recipe, resume, bar)
        if is_main:
            console.print(self.closing_text(recipe), soft_wrap=True)

    def closing_text(self, recipe: RecipeT) -> str:
        """Say where everything lies and what to do next."""
        folder = recipe.output_dir
        files = {str(folder / name): words for name, words in self.journals.items()}
        width = max(map(len, files))
        lines = "".join(f"  {file:<{width}}  {words}\n" for file, words in files.items())
        final, stopped = folder / run_folder.FINAL, stopped_by_guard(folder)
        done = f"Done.  The trained model lies in {final}."
        if stopped:
            done = (
                f"The guard has stopped this run after step {stopped.step}, since it had become worse.  {final} holds "
                f"the model after step {stopped.best}.  To go on anyway: --resume --validation.guard warn"
            )
        return f"{done}\n{lines}Next: sbr eval --run {folder}, then sbr report {folder / 'eval'}"


RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT", "SBR_RESTART_COUNT")
"""Environment variables that count repetitions: set by torchrun, by SLURM, and by a job description for any other."""


def _started_again() -> bool:
    """Has a launcher repeated the command by itself, after a process or a node was lost?"""
    return any(os.environ.get(name, "0") != "0" for name in RESTARTS)


SHARED_STORE = (
    "warning: torchrun --max-restarts keeps the addresses of processes that have ended, and those it starts again may "
    "wait for them; start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
)


def shares_store(environment: Mapping[str, str]) -> bool:
    """Whether torchrun will restart processes and has one store of addresses for all attempts (seen in torch 2.11 and
    2.14: the keys of an attempt are those of the one before)."""
    restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0")
    return environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and restarts != "0"


class TrainingBar:
    """A bar over the steps with the last figures; a `sbr.train.learner.Watcher`.  A cold start has a bar of its own."""

    def __init__(self, bars: Callable[[], Bars] = steps_progress) -> None:
        self._progress = bars()
        self._task: TaskID | None = None
        self._planned = Planned()

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._planned.stop()

    def began(self, name: str, done: int, total: int) -> None:
        self._progress.start()
        self._task = self._progress.add_task(name, total=total, completed=done, figures="")

    def stepped(self, metrics: Metrics) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=metrics.step, figures=metrics.words())

    def took(self, recipe: TrainRecipe, processes: int, taken: int) -> None:
        self._planned.took(recipe, processes, taken)
