"""`sbr compare A B`: two finished evaluations of the same questions, side by side, and beside the paper's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Args:
    """Compare two evaluations question by question: accuracy, paired difference with interval, McNemar's p, and the
    same with whole videos resampled.  An evaluation is its folder, or a file of records such as `sbr score` writes.

    Examples:
      sbr compare runs/demo/eval_base runs/demo/eval_grpo_0
      sbr compare runs/base runs/grpo --names base GRPO --out runs/table.md
      sbr compare runs/base runs/sft runs/grpo    several: one table of accuracies, one of the differences of each two
      sbr compare runs/base runs/grpo --paper     also the layout of the paper's Table 2, with its rows
      sbr compare runs/grpo --paper               one evaluation beside the paper's rows
      sbr compare runs/grpo --published rows.toml     beside rows of your own (docs/published.md)
    """

    base: tyro.conf.Positional[Path]
    """The first evaluation."""
    others: tyro.conf.Positional[tuple[Path, ...]] = ()
    """The second evaluation and further ones; only --paper and --published do without."""
    names: tuple[str, ...] | None = None
    """How to call them in the tables (default: the names of the folders)."""
    paper: bool = False
    """Print accuracies as in Table 2 of arXiv 2503.24376, with the paper's rows marked as such."""
    published: Path | None = None
    """Print accuracies beside the published results of this TOML file; `sbr published` shows those of the package."""
    out: Path | None = None
    """Also write the tables as Markdown."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr compare` and print the tables."""
    args = tyro.cli(Args, args=arguments, prog="sbr compare", description=inspect.getdoc(Args))

    from sbr.cli.console import Terminal

    if not args.others and not args.paper and args.published is None:
        raise ConfigError(
            "sbr compare needs two evaluations, or one and --paper or --published; see `sbr compare --help`"
        )
    paths = [args.base, *args.others]
    names = args.names or names_of(paths)
    if len(set(names)) != len(paths):
        raise ConfigError(f"--names is {' '.join(names)}; give {len(paths)} different name(s), one an evaluation")
    show(dict(zip(names, paths, strict=True)), args.out, Terminal(), args.paper, args.published)


def show(
    runs: Mapping[str, Path], out: Path | None, console: Console, paper: bool = False, published: Path | None = None
) -> None:
    """Print the tables of one or more evaluations by name and, if asked, write them as Markdown."""
    from sbr.eval.records import read_records, records_file

    records = {name: read_records(records_file(path)) for name, path in runs.items()}

    from sbr.eval.compare import compare_records  # scipy, slower than a refusal
    from sbr.eval.summary import levels_of
    from sbr.report.published.read import packaged, read_published
    from sbr.report.tables import accuracy_table, comparison_tables, difference_table, rich_table, write_markdown

    beside = () if published is None else read_published(published, packaged()).tables[len(packaged().tables) :]
    tables = []
    comparisons = [
        compare_records(records[base], records[other], base, other) for base, other in combinations(records, 2)
    ]
    if len(comparisons) == 1:
        tables += comparison_tables(comparisons[0])
    if paper or beside or len(comparisons) > 1:
        rules = ", ".join(sorted({record.rule for of_run in records.values() for record in of_run}))
        levels = {name: levels_of(of_run) for name, of_run in records.items()}
        tables.append(accuracy_table(levels, rules, paper, beside))
    if len(comparisons) > 1:
        tables.append(difference_table(comparisons))
    for table in tables:
        console.print(rich_table(table))
    if out is not None:
        write_markdown(tables, out)


def names_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """The last part of each path, or the whole paths when these are equal (runs/a/eval and runs/b/eval)."""
    names = tuple(path.name for path in paths)
    return names if len(set(names)) == len(names) else tuple(map(str, paths))
