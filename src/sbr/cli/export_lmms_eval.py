"""`sbr export lmms-eval DIR --data ROOT`: a task package for lmms-eval."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sbr.config.section import Rule


@dataclass(frozen=True)
class Args:
    """Write the questions of SEED-Bench-R1, its words and the answer rule as a task package for lmms-eval.

    The folder needs nothing of sbr and may be moved.  Media stay where they are; after moving them, set SBR_DATA_ROOT.
    What lmms-eval's model wrappers do differently with frames: docs/interop.md.

    Examples:
      sbr export lmms-eval tasks/sbr --data data/SEED-Bench-R1
      lmms-eval --include_path tasks/sbr --tasks sbr_seed_bench_r1 --model qwen2_vl --model_args pretrained=...
      sbr export lmms-eval tasks/sbr_strict --data data/mini --levels L3 --rule strict --max-new-tokens 32
    """

    dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder to write; files of an earlier export are replaced."""
    data: Path
    """Data root in the layout of SEED-Bench-R1 (docs/formats.md)."""
    levels: str = "L1,L2,L3"
    """Which levels, separated by commas."""
    rule: Rule = "official"
    """How answers are read (sbr.reward.answer)."""
    max_new_tokens: int = 256
    """Longest answer in tokens."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr export lmms-eval`, write the package and say how it is run."""
    args = tyro.cli(Args, args=arguments, prog="sbr export lmms-eval", description=inspect.getdoc(Args))

    from sbr import __version__
    from sbr.cli.console import Terminal
    from sbr.config.inputs import DataConfig
    from sbr.data.sources.select import choose_levels, load_questions
    from sbr.errors import ConfigError
    from sbr.integrations.lmms_eval import TAG, export_lmms_eval

    if args.max_new_tokens < 1:
        raise ConfigError(f"--max-new-tokens is {args.max_new_tokens}; expected 1 or more")
    config = DataConfig(root=args.data)
    levels = choose_levels(config, [level.strip() for level in args.levels.split(",")])
    samples = {level: load_questions(config, level, None) for level in levels}
    package = export_lmms_eval(args.dir, args.data, samples, args.rule, args.max_new_tokens, __version__)
    console = Terminal()
    for task, questions in package.tasks.items():
        console.print(f"{task}: {questions:,} questions")
    console.print(f"lmms-eval --include_path {package.folder} --tasks {TAG} --model ...", soft_wrap=True)
