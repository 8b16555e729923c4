"""`sbr data check ROOT`: is this folder the benchmark, and is it complete?"""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from sbr.cli.data_cache import Cache, cache

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.data.audit import Audit, SplitAudit

SHOWN = 20
"""Problems and missing media shown on the screen; the JSON file has all."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Check a data root: rows per split and domain, problems of rows, missing media.

    Exit status 0: nothing is wrong; 1: something is; 2: ROOT is not a data root.

    Examples:
      sbr data check data/SEED-Bench-R1
      sbr data check data/SEED-Bench-R1 --json report.json
    """

    root: tyro.conf.Positional[Path]
    """Folder that holds annotations/, videos/ and images/."""
    json: Path | None = None
    """Write the whole report, every problem and every missing medium, to this file."""


def run(arguments: list[str]) -> None:
    """Entry of `sbr data`; raises SystemExit(1) when the data root has a problem."""
    if arguments[:1] == ["cache"]:  # by itself, since tyro drops the examples of subcommands
        cache(tyro.cli(Cache, args=arguments[1:], prog="sbr data cache", description=inspect.getdoc(Cache)))
        return
    subcommands: dict[str, Any] = {"check": Check, "cache": Cache}
    check(tyro.extras.subcommand_cli_from_dict(subcommands, args=arguments, prog="sbr data"))


def check(args: Check) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from sbr.data.audit import audit_root

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("checking rows and media", total=None)
        audit = audit_root(args.root, lambda done, total: bar.update(task, completed=done, total=total))
    _show(audit, console)
    if args.json is not None:
        _write_json(audit, args.json)
        console.print(f"full report: {args.json}", soft_wrap=True)
    if not audit.ok:
        raise SystemExit(1)


def _write_json(audit: Audit, file: Path) -> None:
    from sbr.data.jsonl import replace_file
    from sbr.errors import DataError

    report: dict[str, Any] = {"ok": audit.ok, **dataclasses.asdict(audit)}
    try:
        replace_file(file, (json.dumps(report, indent=1, default=str, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise DataError(f"the report cannot be written to {file}: {error.strerror}") from None


def _show(audit: Audit, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    plain: dict[str, Any] = {"box": None, "padding": (0, 1, 0, 0), "pad_edge": False, "title_justify": "left"}
    rows = Table(title=f"Data root {escape(str(audit.root))}", **plain)  # fits 80 columns with its longest file name
    rows.add_column("file", no_wrap=True)
    for name in ("rows", "official", "bad", "no video", "missing", "A B C D %"):
        rows.add_column(name, justify="right", no_wrap=True)
    domains = Table(title="\nDomains", **plain)
    for name in ("split", "domain", "rows", "official"):
        domains.add_column(name, justify="left" if name in ("split", "domain") else "right")
    for split in audit.splits:
        rows.add_row(escape(split.file.name), *_counts(split))
        for count in split.domains:
            domains.add_row(escape(split.split), escape(count.domain), str(count.rows), _or_dash(count.official))
    for name in audit.absent:
        rows.add_row(name, "[red]absent[/red]")
    console.print(rows)
    console.print(domains, "")
    duplicates = sum(split.duplicate_ids for split in audit.splits)
    repeated = f" ({duplicates} rows repeat a sample_id)" if duplicates else ""
    _list(console, "red", f"problems of rows{repeated}", [str(problem) for problem in audit.problems])
    _list(console, "red", "missing media", [str(medium) for medium in audit.missing])
    _list(console, "red", "absent annotation files", list(audit.absent))
    notes = [str(note) for split in audit.splits for note in split.notes]
    _list(console, "yellow", "questions that offer one option twice (kept as they are)", notes)
    _list(
        console, "yellow", "files in annotations/ not checked, since no split has their names", list(audit.not_checked)
    )
    console.print("[green]nothing is wrong[/green]" if audit.ok else "[red]something is wrong, see above[/red]")


def _counts(split: SplitAudit) -> tuple[str, ...]:
    letters = dict(split.gold_letters)
    return (
        str(split.rows),
        _or_dash(split.official_rows),
        f"[red]{split.bad_rows}[/red]" if split.bad_rows else "0",
        str(split.without_video),
        f"[red]{len(split.missing)}[/red]" if split.missing else "0",
        " ".join(f"{100 * letters.get(letter, 0) / max(split.rows, 1):.0f}" for letter in "ABCD") if letters else "-",
    )


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _list(console: Console, colour: str, title: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(f"[{colour}]{title}: {len(lines)}[/{colour}]")
    for line in lines[:SHOWN]:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f"  ... and {len(lines) - SHOWN} more (all of them with --json FILE)")
