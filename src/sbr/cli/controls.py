"""`sbr controls RUN...`: what part of a score is not vision."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.errors import ConfigError


@dataclass(frozen=True)
class Args:
    """Show what part of a score is not vision, from finished evaluations of one model.

    With the ordinary evaluation and one or two controls: accuracy by guessing, blind, with the image only and with
    everything, and what showing more adds, paired by question.  For every evaluation: how often each letter is chosen
    and right, and, with --shuffle-options, accuracy in every rotation and the consistent accuracy.  Which control an
    evaluation had is read from its records.

    Examples:
      sbr eval --run runs/grpo
      sbr eval --run runs/grpo --blind --out runs/grpo/blind
      sbr eval --run runs/grpo --no-video --out runs/grpo/no_video
      sbr eval --run runs/grpo --shuffle-options --out runs/grpo/rotated
      sbr controls runs/grpo/eval runs/grpo/blind runs/grpo/no_video
      sbr controls runs/grpo/rotated --out runs/grpo/controls.md
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of evaluations, or files of records such as `sbr score` writes."""
    out: Path | None = None
    """Also write the tables as Markdown."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr controls` and print the tables."""
    args = tyro.cli(Args, args=arguments, prog="sbr controls", description=inspect.getdoc(Args))
    if not args.runs:
        raise ConfigError("sbr controls needs at least one evaluation; see `sbr controls --help`")

    from sbr.cli.compare import names_of
    from sbr.cli.console import Terminal
    from sbr.eval.records import read_records, records_file

    names = names_of(args.runs)
    if len(set(names)) < len(names):
        raise ConfigError("sbr controls was given one evaluation twice")
    records = {name: read_records(records_file(path)) for name, path in zip(names, args.runs, strict=True)}

    from sbr.eval.summary import levels_of  # scipy, slower than a refusal
    from sbr.eval.vision import vision_share
    from sbr.report.control_tables import letter_tables, rotation_tables, vision_tables
    from sbr.report.tables import rich_table, write_markdown

    vision = vision_share(records)
    levels = {name: levels_of(of_run) for name, of_run in records.items()}
    tables = [
        *(vision_tables(vision) if vision else ()),
        *rotation_tables(levels),
        *letter_tables(levels),
    ]
    console = Terminal()
    for table in tables:
        console.print(rich_table(table))
    if args.out is not None:
        write_markdown(tables, args.out)
