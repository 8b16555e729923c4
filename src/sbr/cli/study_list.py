"""`sbr study list`: commands for the array job of a cluster, and what is there of a study."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.errors import ConfigError

if TYPE_CHECKING:
    from sbr.study.recipes import Study


@dataclass(frozen=True)
class Args:
    """Print one command a line, each for one process.

    Every line evaluates one model and runs what that needs first.  Lines may run at the same time, in any order: what
    several need is run by the first and waited for by the others.  To have no process wait, run the lines of --tier 0,
    then those of --tier 1, and so on.

    Examples:
      sbr study list recipes/mini/study.toml > commands.txt
      sbatch --array 1-$(wc -l < commands.txt) array.sh      array.sh runs line $SLURM_ARRAY_TASK_ID (docs/studies.md)
      sbr study list recipes/mini/study.toml --tier 0        what needs nothing else
      sbr study list recipes/mini/study.toml --missing       without what is finished
      sbr study list recipes/mini/study.toml --status        a table of all runs
    """

    study: tyro.conf.Positional[Path]
    """The TOML file (docs/studies.md)."""
    tier: int | None = None
    """Runs that need only those of lower tiers, one a line."""
    missing: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave out what is finished."""
    status: tyro.conf.FlagCreatePairsOff[bool] = False
    """A table of all runs instead: finished, running, begun, failed, missing."""


def run(arguments: list[str]) -> None:
    args = tyro.cli(Args, args=arguments, prog="sbr study list", description=inspect.getdoc(Args))

    from sbr.study.recipes import read_study

    study = read_study(args.study)
    if args.status:
        _show_status(study, list(study.graph.jobs) if args.tier is None else _chosen(study, args.tier), args.missing)
        return
    names = _chosen(study, args.tier)
    for name in _missing(study, names) if args.missing else names:
        sys.stdout.write(shlex.join(["sbr", "study", str(args.study), "--only", name]) + "\n")


def _chosen(study: Study, tier: int | None) -> list[str]:
    """All evaluations, those first that need least; or the jobs of a tier."""
    from sbr.study.schedule import evaluations

    tiers = study.graph.tiers()
    if tier is None:
        return sorted(evaluations(study.graph), key=tiers.__getitem__)
    last = max(tiers.values())
    if not 0 <= tier <= last:
        raise ConfigError(f"--tier is {tier}, and this study has 0 to {last}")
    return [name for name in study.graph.jobs if tiers[name] == tier]


def _missing(study: Study, names: Sequence[str]) -> list[str]:
    from sbr.study.state import state_of

    return [name for name in names if state_of(study, study.graph.jobs[name]) != "finished"]


def _show_status(study: Study, names: Sequence[str], missing: bool) -> None:
    from rich import box
    from rich.table import Table

    from sbr.cli.console import Terminal
    from sbr.study.state import read_note, state_of

    console, tiers = Terminal(), study.graph.tiers()
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("run", "verb", "tier", "state"):
        table.add_column(title, justify="right" if title == "tier" else "left", overflow="fold")
    states = {name: state_of(study, study.graph.jobs[name]) for name in names}
    for name, state in states.items():
        if not (missing and state == "finished"):
            table.add_row(name, study.graph.jobs[name].verb, str(tiers[name]), state)
    console.print(table)
    for name, state in states.items():
        note = read_note(study, name) if state == "failed" else None
        if note is not None:
            console.print(f"{name} has failed: {note.error.strip().splitlines()[-1]}", soft_wrap=True)
    counts = Counter(states.values())
    console.print(f"{len(names)} runs: " + ", ".join(f"{counts[state]} {state}" for state in counts))
