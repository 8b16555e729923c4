"""`sbr analyze curves RUN...`: training curves of one or several runs and seeds."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.errors import ConfigError


@dataclass(frozen=True)
class Args:
    """Draw what training runs have logged over their steps, and print where every figure began and ended.  Runs may
    still be running.  Runs whose recipes differ in the seed alone are drawn as their mean, with a band of one standard
    deviation; a cold start is drawn too.

    Examples:
      sbr analyze curves runs/demo/grpo_0 runs/demo/sft_grpo_0 --out curves.png
      sbr analyze curves runs/a_0 runs/a_1 runs/a_2 --out seeds.png       three seeds: the mean and its band
      sbr analyze curves runs/7b/grpo --window 25 --out grpo.png
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of training runs (`sbr grpo`, `sbr sft`)."""
    names: tuple[str, ...] | None = None
    """How to call them (default: the names of the folders)."""
    window: int = 9
    """Steps that are averaged for the thick lines; 1: none."""
    out: Path | None = None
    """The PNG to write."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr analyze curves`, print the tables and write the picture."""
    args = tyro.cli(Args, args=arguments, prog="sbr analyze curves", description=inspect.getdoc(Args))

    from sbr.analysis.training_metrics import read_metrics, with_cold_starts
    from sbr.cli.compare import names_of
    from sbr.cli.console import Terminal

    if not args.runs:
        raise ConfigError("sbr analyze curves needs at least one training run; see `sbr analyze curves --help`")
    names = args.names or names_of(args.runs)
    if len(set(names)) != len(args.runs):
        raise ConfigError(f"the names are {' '.join(names)}; give {len(args.runs)} different --names, one a run")
    if args.window < 1:
        raise ConfigError(f"--window is {args.window}, expected 1 step or more")
    if args.out is not None and args.out.suffix.lower() != ".png":
        raise ConfigError(f"--out is {args.out}; the picture is a PNG, give a name that ends in .png")
    runs = {
        name: read_metrics(folder)
        for name, folder in with_cold_starts(dict(zip(names, args.runs, strict=True))).items()
    }

    from sbr.analysis.arms import arms_of  # scipy and matplotlib, slower than a refusal
    from sbr.analysis.curves import curves_of
    from sbr.report.curve_tables import ends_tables, runs_table
    from sbr.report.tables import rich_table

    console = Terminal()
    for table in (runs_table(runs), *ends_tables(runs)):
        console.print(rich_table(table))
    arms = arms_of(runs)
    for arm in arms:
        if len(arm.runs) > 1:
            console.print(f"{arm.name}: {', '.join(arm.runs)}", soft_wrap=True)
    curves = curves_of(runs, args.window)
    for note, figures in Counter(note for curve in curves for note in curve.left_out).items():
        console.print(f"{note} (figures: {figures})", soft_wrap=True)
    if args.out is not None:
        from sbr.report.figures import draw_curves

        note = f"Thick: mean over {args.window} steps around each; thin: what it is made of."
        if any(len(arm.runs) > 1 for arm in arms):
            note += " Seeds: mean of their lines, band of one standard deviation (n - 1) on either side."
        draw_curves(curves, args.out, [arm.name for arm in arms], note)
        console.print(f"Curves in {args.out}", soft_wrap=True)
