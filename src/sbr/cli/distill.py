"""`sbr distill`: chains of thought from a stronger model by rejection sampling."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich import box
from rich.table import Table

from sbr.cli.asking import AskingBar, KeptSoFar
from sbr.cli.console import Terminal, quiet_transformers
from sbr.cli.early import refuse_early
from sbr.config.load import load_recipe
from sbr.config.recipes import DistillRecipe

if TYPE_CHECKING:
    from sbr.distill.report import Report

HARDEST = 10
"""Questions without a kept answer that are shown; report.json lists all."""


@dataclass(frozen=True)
class Args:
    """Ask a teacher the training questions, several times each, and keep the answers whose format and choice are right.

    The teacher is a local checkpoint (engine native or vllm) or a model behind any OpenAI-compatible server (engine
    endpoint).  It is not told the answer.  An interrupted run continues where it was: repeat the command.  The same
    command with other filters (--distill.rule, consistent, min_words, max_words, distinct, keep, reasoning) selects
    again from the answers that are there, and asks nothing.

    Examples:
      sbr distill recipes/mini/distill.toml                       the base model of the package teaches itself
      sbr distill recipes/mini/distill.toml --limit 100           the first 100 questions; more can follow later
      sbr distill recipes/mini/distill.toml --model.path runs/mini/grpo/final --output_dir runs/mini/distill_grpo
      sbr distill recipes/mini/distill.toml --distill.consistent     filter again: nothing is asked
      sbr distill recipes/qwen2vl_7b/distill.toml --engine.url http://localhost:8000/v1 --engine.concurrency 64
      sbr distill recipes/mini/distill.toml --help                every key of the recipe with its value

    Any key of the recipe can be set on the command line.  output_dir then holds training_with_cot.jsonl (what SFT
    reads), samples.jsonl (every answer with its verdict), report.json, recipe.json and inputs.json.
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file; those of the project lie in recipes/."""
    limit: int | None = None
    """Only the first questions of the training file (data.limit)."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr distill`, ask, and print the report."""
    recipe = parse(arguments)
    refuse_early(recipe)

    from sbr.distill.runner import distill
    from sbr.resume.processes import launched

    quiet_transformers()
    console = Terminal()
    with launched() as processes, AskingBar(KeptSoFar(recipe.distill)) as bar:
        if processes.rank == 0:
            console.print(f"Distilling from {recipe.model.path} -> {recipe.output_dir}")
        report = distill(recipe, bar, processes)
    if processes.rank > 0:
        return
    console.print(headline(report), soft_wrap=True)
    for table in report_tables(report):
        console.print(table)
    console.print(closing_text(recipe, report), soft_wrap=True)


def parse(arguments: list[str]) -> DistillRecipe:
    """A recipe followed by any of its keys; --limit stands for --data.limit."""
    if not arguments or arguments[0].startswith("-"):
        # Prints help or what is missing, and exits.  Without `description` tyro drops the examples.
        args = tyro.cli(Args, args=arguments, prog="sbr distill", description=inspect.getdoc(Args))
        words = [] if args.limit is None else ["--data.limit", str(args.limit)]
        return load_recipe(DistillRecipe, args.recipe, words)
    words = ["--data.limit" + word.removeprefix("--limit") if _is_limit(word) else word for word in arguments[1:]]
    return load_recipe(DistillRecipe, Path(arguments[0]), words)


def _is_limit(word: str) -> bool:
    return word == "--limit" or word.startswith("--limit=")


def headline(report: Report) -> str:
    """Yield and throughput in one line."""
    speed = f"{report.answers_per_second:.2f} answers/s"
    if report.tokens_per_second is not None:
        speed += f", {report.tokens_per_second:.1f} tokens/s"
    text = (
        f"{report.kept} of {report.answers} answers kept ({100 * report.kept / report.answers:.1f} %), for "
        f"{report.questions_kept} of {report.questions} questions; {report.seconds:.0f} s of asking, {speed}"
    )
    if report.reasonings_exchanged:
        text += (
            f"\nA control: all {report.reasonings_exchanged} rows have the reasoning of another question, "
            f"{report.reasonings_same} of them one that reads as their own"
        )
    return text


def report_tables(report: Report) -> list[Table]:
    """What became of the answers; how many a question; the hardest questions."""
    verdicts = Table(box=box.SIMPLE_HEAD)
    verdicts.add_column("answers")
    verdicts.add_column("number", justify="right")
    verdicts.add_column("%", justify="right")
    for verdict, count in report.verdicts.items():
        if count:
            verdicts.add_row(verdict, str(count), f"{100 * count / report.answers:.1f}")
    numbers = Table(title=f"Questions by their {report.samples} answers", title_justify="left", box=box.SIMPLE_HEAD)
    numbers.add_column("so many answers")
    for n in range(report.samples + 1):
        numbers.add_column(str(n), justify="right")
    numbers.add_row("chose the right option", *map(str, report.right_per_question))
    numbers.add_row("are kept", *map(str, report.kept_per_question))
    if not report.hardest:
        return [verdicts, numbers]
    title = f"Without a kept answer: {len(report.hardest)} questions"
    if len(report.hardest) > HARDEST:
        title += f", the hardest {HARDEST} (report.json lists all)"
    hardest = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("sample_id", "task_goal", "right option", "chosen", "mostly"):
        hardest.add_column(name, justify="right" if name == "chosen" else "left")
    for hard in report.hardest[:HARDEST]:
        hardest.add_row(hard.sample_id, hard.task_goal or "", hard.gold_text, str(hard.right), hard.mostly)
    return [verdicts, numbers, hardest]


def closing_text(recipe: DistillRecipe, report: Report) -> str:
    """Say where everything lies and what to do next."""
    from sbr.distill.report import REPORT
    from sbr.distill.rows import COT_FILE
    from sbr.distill.samples import SAMPLES

    folder = recipe.output_dir
    learn = f"{folder / COT_FILE}  {report.kept} rows to learn from" if report.kept else "No answer was kept, no rows."
    return f"{learn}\n{folder / SAMPLES}  every answer with its verdict\n{folder / REPORT}  these figures"
