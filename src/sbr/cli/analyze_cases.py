"""`sbr analyze cases A B ...`: questions on which models differ, with tags, sorted by interest."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.text import Text

    from sbr.analysis.cases import Case, CaseAnswer
    from sbr.eval.records import RecordKey
    from sbr.types import Sample

LONGEST = 300
"""Characters of a response that are shown; --out has all."""


@dataclass(frozen=True)
class Args:
    """Show what happened to each question from model to model: counts of tags, how outcomes move, and the questions
    on which the models differ, most interesting first.  The evaluations must be of the same questions, by one rule and
    with the same media; their order is that of the models.

    With several samples or rotations the first answer to each question is taken.

    Examples:
      sbr analyze cases runs/demo/eval_base runs/demo/eval_sft_0 runs/demo/eval_grpo_0 --names base SFT GRPO
      sbr analyze cases runs/base runs/grpo --tag "right against its own reasoning" --limit 5
      sbr analyze cases runs/base runs/sft runs/grpo --level L3 --flow 011 --out cases.jsonl
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of evaluations, or files of records such as `sbr score` writes."""
    names: tuple[str, ...] | None = None
    """How to call the models (default: the names of the folders)."""
    level: str | None = None
    """Only questions of this level."""
    tag: str | None = None
    """Only questions one of whose answers has this tag."""
    flow: str | None = None
    """Only questions with this chain of right (1) and wrong (0), a digit a model."""
    limit: int = 10
    """How many questions are shown."""
    out: Path | None = None
    """Write all questions that are left by the filters, one a line (JSON)."""
    data: Path | None = None
    """The data root, when it is no longer where the evaluation found it."""
    records_only: bool = False
    """Do not read the questions again: without the tags that need the narrated actions."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr analyze cases`, print tables and cases, write the file."""
    args = tyro.cli(Args, args=arguments, prog="sbr analyze cases", description=inspect.getdoc(Args))

    from sbr.cli.compare import names_of
    from sbr.eval.records import read_records, records_file

    if len(args.runs) < 2:
        raise ConfigError("sbr analyze cases needs two or more evaluations; see `sbr analyze cases --help`")
    names = args.names or names_of(args.runs)
    if len(set(names)) != len(args.runs):
        raise ConfigError(f"--names is {' '.join(names)}; give {len(args.runs)} different name(s), one an evaluation")
    if args.limit < 0:
        raise ConfigError(f"--limit is {args.limit}, expected 0 or more questions")
    if args.flow is not None and (len(args.flow) != len(args.runs) or set(args.flow) - set("01")):
        raise ConfigError(f"--flow is {args.flow!r}, expected {len(args.runs)} digits, 1 for right and 0 for wrong")
    _refuse_unknown_tag(args.tag, args.records_only)
    runs = {name: read_records(records_file(path)) for name, path in zip(names, args.runs, strict=True)}
    if args.level is not None and args.level not in (levels := sorted({r.level for of in runs.values() for r in of})):
        raise ConfigError(f"--level is {args.level!r}, the evaluations have {', '.join(levels)}")

    from sbr.analysis.cases import cases_of, write_cases  # scipy, slower than a refusal
    from sbr.analysis.flow import flows_of
    from sbr.cli.console import Terminal
    from sbr.report.case_tables import chain_table, flow_table, tag_table
    from sbr.report.tables import rich_table

    flows = flows_of(runs)
    questions = None if args.records_only else _questions(dict(zip(names, args.runs, strict=True)), args.data)
    cases = cases_of(runs, questions)
    chosen = [case for case in cases if case.interest > 0 and _fits(case, args)]
    if args.out is not None:
        write_cases(chosen, args.out)
    console = Terminal()
    for table in (tag_table(cases, questions is not None), flow_table(flows), chain_table(cases)):
        console.print(rich_table(table))
    for case in chosen[: args.limit]:
        console.print(_text(case))
    rest = len(cases) - len(chosen)
    console.print(
        f"{min(args.limit, len(chosen))} of {len(chosen)} questions shown; {rest} others have no tag or do not fit the "
        f"filters{'' if args.out is None else f'; {len(chosen)} written to {args.out}'}",
        soft_wrap=True,
    )


def _refuse_unknown_tag(tag: str | None, records_only: bool) -> None:
    from sbr.analysis.tags import OF_PROGRESS, TAGS

    if tag is not None and tag not in TAGS:
        raise ConfigError(f"--tag is {tag!r}, expected one of: {', '.join(TAGS)}")
    if tag in OF_PROGRESS and records_only:
        raise ConfigError(f"--tag {tag!r} needs the narrated actions; leave --records-only out")


def _questions(runs: Mapping[str, Path], data: Path | None) -> Mapping[RecordKey, Sample]:
    """Of the first run that is the folder of an evaluation."""
    from sbr.analysis.evaluated import read_evaluated
    from sbr.resume.folder import RECIPE

    folders = {name: path for name, path in runs.items() if (path / RECIPE).is_file()}
    if not folders:
        raise ConfigError(
            "files of records do not say where their questions are: give one of the evaluations as its folder, or "
            "--records-only"
        )
    name, folder = next(iter(folders.items()))
    (evaluated,) = read_evaluated({name: folder})
    if data is not None:
        there = evaluated.recipe.data.model_copy(update={"root": data})
        evaluated = replace(evaluated, recipe=evaluated.recipe.model_copy(update={"data": there}))
    try:
        return evaluated.questions()
    except DataError as error:
        raise DataError(f"{error} (--records-only does without the questions)") from None


def _fits(case: Case, args: Args) -> bool:
    return (
        args.level in (None, case.level)
        and args.flow in (None, case.flow)
        and (args.tag is None or any(args.tag in answer.tags for answer in case.answers))
    )


def _text(case: Case) -> Text:
    """A case to read: options with the right one marked, then what each model said."""
    from rich.text import Text

    from sbr.types import LETTERS

    text = Text(f"{case.level} {case.sample_id}", "bold")
    text.append(f"  {case.flow}  interest {case.interest:.2f}  {case.scenario or case.domain}\n", "not bold")
    if case.question is not None:
        text.append(f"  {case.question}\n", "not bold")
    if case.progress:
        text.append(f"  before: {', '.join(case.progress)}\n", "not bold")
    for letter, option in zip(LETTERS, case.options, strict=False):
        right = letter == case.gold
        text.append(f"  {letter}. {option}{'  <- right' if right else ''}\n", "green" if right else "not bold")
    for answer in case.answers:
        text.append_text(_answer_text(answer))
    return text


def _answer_text(answer: CaseAnswer) -> Text:
    from rich.text import Text

    of = "" if answer.right_of is None else f" ({answer.right_of[0]} of {answer.right_of[1]} right)"
    outcome = f"{'right' if answer.correct else 'wrong'} {answer.extracted or '-'}{of}"
    text = Text(f"  {answer.run}: {outcome}", "green" if answer.correct else "red")
    if answer.tags:
        text.append(f"  [{', '.join(answer.tags)}]", "yellow")
    said = " ".join(answer.response.split())
    cut = f" ... and {len(said) - LONGEST:,} more characters" if len(said) > LONGEST else ""
    text.append(f"\n    {said[:LONGEST]}{cut}\n", "default")
    return text
