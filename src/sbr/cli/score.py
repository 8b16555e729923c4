"""`sbr score RECORDS --rule R --out OUT`: read saved answers by another rule."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.config.section import Rule


@dataclass(frozen=True)
class Args:
    """Score the saved answers of an evaluation by another rule.  No model is loaded, nothing is asked again.

    OUT gets the same rows in the same order; `extracted`, `correct` and `rule` are renewed.  Two such files can be
    given to `sbr compare`.

    Examples:
      sbr score runs/grpo/eval --rule strict --out runs/grpo/strict.jsonl
      sbr score runs/grpo/eval/records.jsonl --rule care --out runs/grpo/care.jsonl
    """

    records: tyro.conf.Positional[Path]
    """records.jsonl of an evaluation, or the folder that holds it."""
    rule: Rule
    """official: first character inside <answer>. care: exactly a letter. strict: what a careful reader would accept
    (sbr.reward.answer)."""
    out: Path
    """File to write; it must not be the one that is read."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr score`, write the file, and print the accuracies of before and after."""
    args = tyro.cli(Args, args=arguments, prog="sbr score", description=inspect.getdoc(Args))

    from rich import box
    from rich.table import Table

    from sbr.cli.console import Terminal
    from sbr.eval.records import records_file
    from sbr.eval.rescore import rescore_file, scores_of_levels

    before, after = rescore_file(records_file(args.records), args.rule, args.out)
    was = ", ".join(sorted({record.rule for record in before}))
    table = Table(title="Right answers in % (no answer found in %)", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("level")
    for name in ("answers", f"before: {was}", f"after: {args.rule}", "gained", "lost"):
        table.add_column(name, justify="right")
    for level in scores_of_levels(before, after):
        shares = ((level.before, level.unread_before), (level.after, level.unread_after))
        cells = (f"{100 * right / level.answers:.2f} ({100 * none / level.answers:.2f})" for right, none in shares)
        table.add_row(level.level, str(level.answers), *cells, str(level.gained), str(level.lost))
    console = Terminal()
    console.print(table)
    console.print(f"{len(after)} records in {args.out}", soft_wrap=True)
