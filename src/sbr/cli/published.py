"""`sbr published`: accuracies that papers report, with intervals and contradictions; and the document made of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Args:
    """Show what was published on SEED-Bench-R1 and LongVideoBench: figures as printed, our intervals, protocols, and
    which figures contradict each other.

    Examples:
      sbr published                               what ships with the package
      sbr published rows.toml                     and rows of your own; docs/published.md says how to write them
      sbr published --out docs/published.md       the same as a document
    """

    file: tyro.conf.Positional[Path | None] = None
    """A TOML file with further results."""
    out: Path | None = None
    """Write a Markdown document in place of showing tables."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr published` and print the tables or write the document."""
    args = tyro.cli(Args, args=arguments, prog="sbr published", description=inspect.getdoc(Args))

    from sbr.cli.console import Terminal
    from sbr.files import check_output, replace_output
    from sbr.report.published.document import START, document
    from sbr.report.published.read import packaged, read_published
    from sbr.report.published.tables import all_tables
    from sbr.report.tables import rich_table

    if args.out is not None:
        check_output(args.out, START.encode())
    published = packaged() if args.file is None else read_published(args.file, packaged())
    console = Terminal()
    if args.out is None:
        for table in all_tables(published):
            console.print(rich_table(table, wrap=True))
        return
    replace_output(args.out, document(published).encode(), START.encode())
    figures = sum(len(row.figures) for table in published.tables for row in table.rows)
    console.print(f"{figures} figures of {len(published.tables)} tables in {args.out}", soft_wrap=True)
