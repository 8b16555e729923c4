"""`sbr data`: check a data root, build one from action annotations, download one."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro

from sbr.cli.data_build import Build, build
from sbr.cli.data_cache import Cache, cache
from sbr.cli.data_download import Download, download

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.data.audit.root import Audit
    from sbr.frames.probe import MediaReport


ArgumentsT = TypeVar("ArgumentsT")


@dataclasses.dataclass(frozen=True)
class Check:
    """Check a data root: every row, every medium, and what training and validation share.

    Exit status 0: nothing is wrong; 1: something is; 2: ROOT is not a data root.

    Examples:
      sbr data check data/SEED-Bench-R1 --expect paper
      sbr data check data/SEED-Bench-R1 --quick
      sbr data check data/SEED-Bench-R1 --json report.json
      sbr data check data/mini --json - | jq .media.broken
      sbr data check data/epic --no-media --levels L1 L2
    """

    root: tyro.conf.Positional[Path]
    """Folder that holds annotations/, videos/ and images/."""
    expect: Literal["paper"] | None = None
    """"paper": the numbers of rows must be those of the paper; without it they are only shown beside them."""
    quick: bool = False
    """Look for the media without opening them."""
    no_media: bool = False
    """Check the rows alone: a root whose clips are not cut yet."""
    levels: tuple[Literal["L1", "L2", "L3"], ...] = ("L1", "L2", "L3")
    """Levels that must be there; those that are there are always checked."""
    full: bool = False
    """Decode every frame of every video instead of its key frames; this takes hours for the whole benchmark."""
    workers: int = 0
    """Processes that open media; 0: one for every CPU."""
    json: str | None = None
    """Write the whole report, with every problem and every bad medium, to this file; "-": to standard output, and the
    tables to standard error."""


def run(arguments: list[str]) -> None:
    """Entry of `sbr data`; raises SystemExit(1) when the data root has a problem."""
    # Each by itself, since tyro drops the examples of subcommands.
    match arguments[:1]:
        case ["build"]:
            build(_read(Build, arguments))
        case ["cache"]:
            cache(_read(Cache, arguments))
        case ["check"]:
            check(_read(Check, arguments))
        case ["download"]:
            download(_read(Download, arguments))
        case _:
            verbs: dict[str, Any] = {"check": Check, "build": Build, "cache": Cache, "download": Download}
            tyro.extras.subcommand_cli_from_dict(verbs, args=arguments, prog="sbr data")


def _read(kind: type[ArgumentsT], arguments: list[str]) -> ArgumentsT:
    """The words of one subcommand; a flag has no --no- twin, since it is off without it."""
    return tyro.cli(
        kind,
        args=arguments[1:],
        prog=f"sbr data {arguments[0]}",
        description=inspect.getdoc(kind),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def check(args: Check) -> None:
    from sbr.cli.audit_report import report_json, show
    from sbr.cli.console import Terminal
    from sbr.cli.progress import count_progress
    from sbr.data.audit.root import audit_root
    from sbr.errors import ConfigError

    if args.quick and args.full:
        raise ConfigError("--quick opens no medium and --full decodes all of them; give one of the two")
    if args.no_media and (args.quick or args.full):
        raise ConfigError("--no-media looks for no medium; --quick and --full are about media")
    if args.workers < 0:
        raise ConfigError(f"--workers is {args.workers}, expected 0 or more")
    started = time.monotonic()
    console = Terminal(stderr=args.json == "-")
    with count_progress(of_bytes=True) as bar:
        task = bar.add_task("checking rows", total=None)
        audit = audit_root(
            args.root,
            lambda done, total: bar.update(task, completed=done, total=total),
            expect_paper=args.expect == "paper",
            look_for_media=not args.no_media,
            levels=args.levels,
        )
    media = None if args.quick or args.no_media else _open_media(audit, args, console)
    show(audit, media, console)
    rows = sum(split.rows + split.bad_rows for split in audit.splits)
    console.print(f"{rows:,} rows and {len(audit.named):,} media in {time.monotonic() - started:.1f} s")
    if args.json is not None:
        _write_report(report_json(audit, media), args.json, console)
    if not audit.ok or not (media is None or media.ok):
        raise SystemExit(1)


def _open_media(audit: Audit, args: Check, console: Console) -> MediaReport:
    from sbr.cli.progress import count_progress
    from sbr.frames.probe import probe_media, summarise

    with count_progress() as bar:
        probes = probe_media(audit.named, args.full, args.workers or os.cpu_count() or 1)
        probes = bar.track(probes, total=len(audit.named), description="opening media")
        return summarise(audit.named, probes, args.full)


def _write_report(report: str, target: str, console: Console) -> None:
    from sbr.files import replace_output

    if target == "-":
        sys.stdout.write(report)
        return
    replace_output(Path(target), report.encode(), b'{\n "ok"')
    console.print(f"full report: {target}", soft_wrap=True)
