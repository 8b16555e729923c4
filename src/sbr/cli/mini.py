"""`sbr mini`: the miniature benchmark."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from sbr.errors import ConfigError, DataError


@dataclass(frozen=True)
class Build:
    """Draw the miniature benchmark into a folder, in the layout of the real one.

    The same command run again goes on after an interruption; files that are there are kept.

    Examples:
      sbr mini build data/mini
      sbr mini build data/small --train 80 --val 20 --workers 1
      sbr mini build data/camera --val 1000 --shift camera      one part of what makes L2 hard
    """

    directory: tyro.conf.Positional[Path]
    """A new or empty folder, or one that this very command began."""
    train: int = 1600
    """Questions for training."""
    val: int = 300
    """Questions of each of the levels L1, L2 and L3."""
    seed: int = 0
    """Another seed makes other recordings and questions in the same places."""
    workers: int | None = None
    """Processes that draw (default: one per core).  The result does not depend on it."""
    shift: tuple[Literal["belongings", "camera"], ...] = ("belongings", "camera")
    """What the unseen kitchens of L2 bring besides walls and light: other belongings, a camera that was switched on
    late.  `--shift camera` draws only the one; `--shift` alone none."""


@dataclass(frozen=True)
class Preview:
    """Draw one picture that shows an episode for each kind of place.

    Examples:
      sbr mini preview mini.png
    """

    file: tyro.conf.Positional[Path]
    """The PNG to write."""


@dataclass(frozen=True)
class Pretrain:
    """Train the miniature's base model from scratch.  Any key of the recipe can be set on the command line.

    Examples:
      sbr mini pretrain recipes/mini/pretrain.toml
      sbr mini pretrain recipes/mini/pretrain.toml --seed 1 --output_dir runs/mini/pretrain_1
      sbr mini pretrain recipes/mini/pretrain.toml --help      every key of the recipe with its value
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file."""


@dataclass(frozen=True)
class Reasoning:
    """How models reason about the miniature: do they look, and do they choose the action that they name?

    Examples:
      sbr mini reasoning runs/demo/eval_base runs/demo/eval_grpo_0
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Evaluation folders (they hold records.jsonl)."""


def run(arguments: list[str]) -> None:
    """Entry of `sbr mini`: the first word is the sub-verb."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<10}{about}" for name, (_, about) in SUBVERBS.items())
        sys.stdout.write(f"usage: sbr mini SUBVERB [arguments]\n\n{lines}\n\nsbr mini SUBVERB --help explains one\n")
        return
    name, *rest = arguments
    if name not in SUBVERBS:
        raise ConfigError(f"unknown sub-verb {name!r} of `sbr mini`; one of: {', '.join(SUBVERBS)}")
    SUBVERBS[name][0](rest)


def build(arguments: list[str]) -> None:
    args = tyro.cli(Build, args=arguments, prog="sbr mini build", description=inspect.getdoc(Build))
    draw(args)


def draw(args: Build) -> None:
    """Draw with a progress bar, then say what is there."""
    from sbr.cli.console import Terminal
    from sbr.cli.progress import count_progress
    from sbr.mini.build import build as build_mini

    console = Terminal()
    with count_progress() as bar:
        task = bar.add_task("drawing questions", total=args.train + 3 * args.val)
        built = build_mini(
            args.directory,
            args.train,
            args.val,
            args.seed,
            args.workers,
            lambda done, total: bar.update(task, completed=done, total=total),
            frozenset(args.shift),
        )
    console.print(
        f"{args.directory}: {built.questions} questions ({args.train} for training, {args.val} a level); "
        f"{built.drawn} drawn now, {built.questions - built.drawn} were there",
        soft_wrap=True,
    )


def preview(arguments: list[str]) -> None:
    args = tyro.cli(Preview, args=arguments, prog="sbr mini preview", description=inspect.getdoc(Preview))

    from sbr.mini.preview import write_preview

    write_preview(args.file)


def pretrain(arguments: list[str]) -> None:
    if not arguments or arguments[0].startswith("-"):
        tyro.cli(Pretrain, args=arguments, prog="sbr mini pretrain", description=inspect.getdoc(Pretrain))

    from sbr.config.load import load_recipe
    from sbr.mini.pretrain_recipe import PretrainRecipe, refuse_used_folder

    recipe = load_recipe(PretrainRecipe, Path(arguments[0]), arguments[1:])
    refuse_used_folder(recipe)  # before the imports that take seconds

    from sbr.cli.console import Terminal, quiet_transformers
    from sbr.cli.progress import steps_progress
    from sbr.mini.pretrain import PretrainMetrics
    from sbr.mini.pretrain import pretrain as pretrain_base

    quiet_transformers()
    console = Terminal()
    with steps_progress() as bar:
        task = bar.add_task("pretraining", total=recipe.steps, figures="")

        def show(metrics: PretrainMetrics) -> None:
            losses = (("caption", metrics.caption), ("drill", metrics.drill), ("question", metrics.question))
            figures = "  ".join(f"{name} {value:.2f}" for name, value in losses if value is not None)
            bar.update(task, completed=metrics.step, figures=figures)

        folder = pretrain_base(recipe, show)
    console.print(f"The base model lies in {folder}; use it as --model.path {folder}", soft_wrap=True)


def reasoning(arguments: list[str]) -> None:
    args = tyro.cli(Reasoning, args=arguments, prog="sbr mini reasoning", description=inspect.getdoc(Reasoning))
    if not args.folders:
        raise ConfigError(
            "sbr mini reasoning needs at least one evaluation, such as `sbr mini reasoning runs/demo/eval_base`"
        )

    from rich.table import Table

    from sbr.cli.console import Terminal
    from sbr.eval.records import read_records, records_file
    from sbr.mini.reasoning import reasoning_shares

    names = ("run", "level", "answers", "look %", "right when looking %", "name an offered action %", "consistent %")
    table = Table(title="How the models reason: shares of their answers", title_justify="left")
    for name in names:
        table.add_column(name, justify="left" if name in ("run", "level") else "right")
    for folder in args.folders:
        parts = reasoning_shares(read_records(records_file(folder)))
        if not parts:
            raise DataError(f"{records_file(folder)} holds no answer; run the evaluation first")
        for part in parts:
            shares = (part.looks, part.right_when_looking, part.offered, part.consistent)
            cells = ("-" if share is None else f"{100 * share:.1f}" for share in shares)
            table.add_row(folder.name, part.level, str(part.answers), *cells)
    Terminal().print(table)


SUBVERBS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "build": (build, "draw the miniature benchmark into a folder"),
    "pretrain": (pretrain, "train the miniature's base model from scratch"),
    "reasoning": (reasoning, "do models look at the video, and do they choose the action they name?"),
    "preview": (preview, "draw one picture that shows the miniature world"),
}
