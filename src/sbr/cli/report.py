"""`sbr report RUN... -o report.html`: one page of everything that runs did."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Annotated

import tyro

from sbr.errors import ConfigError

MOST_CASES = 100_000
MOST_MB = 500.0


@dataclass(frozen=True)
class Args:
    """Write one page that opens from disk, without a server or a network: what was run, accuracies beside the paper's,
    differences with their intervals, training curves, controls, consistency, attention, and questions side by side on
    the frames that the models saw.

    A RUN is the folder of an evaluation, of a training run, or one that holds such folders, as that of `sbr demo` does;
    or the folder of a study, alone: means over seeds with their bands, differences between arms, what they took.
    The first evaluation is the one that the others are compared with; all must have answered the same questions. An
    evaluation with --blind, --no-video or --shuffle-options stands beside the ordinary one of the same model. The
    trainings of evaluated models are found by themselves; others are further seeds.

    Examples:
      sbr report runs/demo
      sbr report runs/base runs/grpo/eval --names base GRPO -o grpo.html
      sbr report runs/grpo/eval runs/grpo/blind runs/grpo/rotated     what part of its score is not vision
      sbr report runs/demo runs/seeds/grpo_1 runs/seeds/grpo_2        curves with the band of three seeds
      sbr report runs/study                                           arms, seeds and bases of a study
      sbr report runs/demo --no-frames                                no pictures; the data need not be there
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders, see above."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """The file to write; only such a page is replaced."""
    names: tuple[str, ...] | None = None
    """How to call the ordinary evaluations, in order (default: the names of their folders)."""
    title: str | None = None
    """Of the page (default: the names of the evaluations, or of the study)."""
    cases: int = 200
    """How many questions to show, the most interesting first."""
    max_mb: float = 15.0
    """Largest file, in millions of bytes; fewer questions are shown where they do not fit."""
    data: Path | None = None
    """Where the data lie now (default: where they were when the first evaluation was made)."""
    no_frames: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave out the pictures."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr report` and write the page."""
    args = tyro.cli(Args, args=arguments, prog="sbr report", description=inspect.getdoc(Args))
    write(args)


def write(args: Args) -> None:
    """Write the page and say what is on it."""
    refuse(args)

    from sbr.cli.console import Terminal
    from sbr.cli.progress import count_progress
    from sbr.files import check_output, replace_output
    from sbr.report.page.inputs import find_runs

    runs = find_runs(args.runs, args.names or (), args.data)

    from sbr.report.page.render import START  # scipy, and below torch: slower than a refusal

    check_output(args.out, START.encode())

    from sbr.report.page.assembly import PageOptions, make_page

    named = ", ".join(run.name for run in runs.asked)
    title = args.title or (named if runs.study is None else f"Study {args.runs[0].resolve().name}")
    options = PageOptions(title, args.cases, int(args.max_mb * 1e6), not args.no_frames)
    with count_progress() as bar:
        task = bar.add_task("questions", total=None)
        page = make_page(runs, options, lambda done, total: bar.update(task, completed=done, total=total))
    content = page.content.encode()
    replace_output(args.out, content, START.encode())
    shown, size = len(page.data.cases), len(content) / 1e6
    lines = [
        f"{args.out}: {size:.1f} MB, {shown} of {page.questions} questions, {page.attended} with attention",
        *page.left_out,
    ]
    if 0 < page.attended < shown:
        folders = join(str(run.folder) for run in runs.asked)
        lines.append(
            f"attention of more of them: sbr analyze cases {folders} --out cases.jsonl, then sbr analyze attention "
            f"{folders} --cases cases.jsonl"
        )
    Terminal(soft_wrap=True).print("\n".join(lines))


def refuse(args: Args) -> None:
    """Raise ConfigError for words that make no sense, before anything is read."""
    if not args.runs:
        raise ConfigError("sbr report needs at least one folder of a run; see `sbr report --help`")
    if not 0 <= args.cases <= MOST_CASES:
        raise ConfigError(f"--cases is {args.cases}, expected 0 to {MOST_CASES:,}")
    if not (math.isfinite(args.max_mb) and 0 < args.max_mb <= MOST_MB):
        raise ConfigError(f"--max-mb is {args.max_mb:g}, expected more than 0 and up to {MOST_MB:g}")
