"""`sbr compare A B`: two finished evaluations of the same questions, side by side."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Args:
    """Compare two evaluation folders question by question: accuracy, paired difference with interval, McNemar's p.

    Examples:
      sbr compare runs/demo/eval_base runs/demo/eval_grpo_0
      sbr compare runs/base runs/grpo --names base GRPO --out runs/table.md
    """

    base: tyro.conf.Positional[Path]
    """Folder of the first evaluation (holds records.jsonl)."""
    other: tyro.conf.Positional[Path]
    """Folder of the second evaluation."""
    names: tuple[str, str] | None = None
    """How to call them in the table (default: the folders' names)."""
    out: Path | None = None
    """Also write the table as Markdown."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr compare` and print the table."""
    args = tyro.cli(Args, args=arguments, prog="sbr compare", description=inspect.getdoc(Args))

    from rich.console import Console

    names = args.names or (args.base.name, args.other.name)
    show(args.base, args.other, *names, args.out, Console())


def show(base: Path, other: Path, base_name: str, other_name: str, out: Path | None, console: Console) -> None:
    """Print the comparison of two evaluation folders and, if asked, write it as Markdown."""
    from sbr.eval.compare import compare_files
    from sbr.eval.folder import RECORDS
    from sbr.report.tables import comparison_table, rich_table, write_markdown

    table = comparison_table(compare_files(base / RECORDS, other / RECORDS, base_name, other_name))
    console.print(rich_table(table))
    if out is not None:
        write_markdown([table], out)
