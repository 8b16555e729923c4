"""`sbr analyze attention RUN...`: where the models look while they write, and what it does to the answer."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from sbr.config.attention import AttentionConfig
from sbr.config.load import validate
from sbr.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbr.analysis.attention_shares import QuestionId
    from sbr.analysis.evaluated import EvaluatedRun
    from sbr.report.tables import TextTable


@dataclass(frozen=True)
class Args:
    """Record the attention of answers of finished evaluations: from every generated token to the video, the image, the
    prompt's words and what was written before; maps over the visual tokens; and what happens to the answer when the
    most attended tokens are painted over.  It is kept in RUN/attention.  Interrupted work continues where it was:
    repeat the command.

    Examples:
      sbr analyze attention runs/demo/eval_base runs/demo/eval_grpo_0 --names base GRPO
      sbr analyze attention runs/base runs/sft runs/grpo --per-level 100 --out runs/attention.md
      sbr analyze attention runs/base runs/grpo --cases runs/cases.jsonl      the questions of `sbr analyze cases`
      sbr analyze attention runs/grpo --phrase "open tap"       where it looks while it writes these words
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished evaluations of one data root (`sbr eval`)."""
    names: tuple[str, ...] | None = None
    """How to call them in the tables (default: the names of the folders)."""
    per_level: int | None = None
    """So many questions a level, or all there are if fewer, drawn by a hash of their names: the same for every run
    (default 50)."""
    all: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """All questions."""
    cases: Path | None = None
    """The questions of this file, which `sbr analyze cases` writes.  Picked questions are no sample of a level."""
    data: Path | None = None
    """Folder of the data, when it has moved since the evaluation."""
    layers: tuple[int, ...] | None = None
    """Layers whose mean the maps are (default: the middle third).  Shares are recorded in every layer."""
    heads: tuple[int, ...] | None = None
    """Query heads that means are over, in every layer (default: all)."""
    fractions: tuple[float, ...] | None = None
    """Shares of the visual tokens that are painted over (default 0.1 0.3)."""
    no_effects: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Paint nothing over; several times as fast."""
    randoms: int | None = None
    """Random choices that the most attended tokens are compared with (default 4)."""
    seed: int | None = None
    """Of the random choices."""
    without_sinks: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave visual tokens that draw attention whatever is written out of what is painted over."""
    phrase: tuple[str, ...] = ()
    """Also print where the models look while they write these words."""
    out: Path | None = None
    """Also write the tables as Markdown."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr analyze attention`, record, and print the tables."""
    args = tyro.cli(Args, args=arguments, prog="sbr analyze attention", description=inspect.getdoc(Args))
    config = config_of(args)
    if not args.runs:
        raise ConfigError("sbr analyze attention needs a finished evaluation; see `sbr analyze attention --help`")

    from sbr.analysis.evaluated import read_evaluated
    from sbr.cli.compare import names_of
    from sbr.cli.console import Terminal
    from sbr.report.tables import rich_table, write_markdown

    names = args.names or names_of(args.runs)
    if len(set(names)) != len(args.runs) or len(names) != len(args.runs):
        raise ConfigError(f"the names are {' '.join(names)}; give {len(args.runs)} different --names, one a run")
    runs = read_evaluated(dict(zip(names, args.runs, strict=True)))
    if args.data is not None:
        runs = tuple(run.with_data(args.data) for run in runs)
    questions = _chosen(runs, config, args.cases)
    tables = look_and_tabulate(runs, questions, config, args.phrase)
    console = Terminal()
    for table in tables:
        console.print(rich_table(table))
    if args.out is not None:
        write_markdown(tables, args.out)
    console.print(f"In {', '.join(str(run.folder / 'attention') for run in runs)}: attention.jsonl, maps, recipe.json")


def config_of(args: Args) -> AttentionConfig:
    """Raises ConfigError for flags that exclude each other, and for values out of range."""
    chosen = {"--per-level": args.per_level is not None, "--all": args.all, "--cases": args.cases is not None}
    if len(given := [flag for flag, is_given in chosen.items() if is_given]) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other; give one of them")
    if args.no_effects and args.fractions is not None:
        raise ConfigError("--no-effects and --fractions exclude each other; give one of them")
    values = {
        "per_level": args.per_level,
        "layers": args.layers,
        "heads": args.heads,
        "fractions": () if args.no_effects else args.fractions,
        "randoms": args.randoms,
        "seed": args.seed,
        "without_sinks": args.without_sinks,
    }
    found = {key: value for key, value in values.items() if value is not None}
    return validate(AttentionConfig, found | ({"per_level": None} if args.all else {}), "sbr analyze attention")


def look_and_tabulate(
    runs: Sequence[EvaluatedRun],
    questions: Sequence[QuestionId],
    config: AttentionConfig,
    phrases: Sequence[str] = (),
) -> list[TextTable]:
    """Record what is missing, with a progress bar for each run; the tables of these questions."""
    from sbr.analysis.attention_records import read_attention, read_maps
    from sbr.analysis.attention_run import check_run, look_into
    from sbr.analysis.attention_sample import summarize_attention
    from sbr.cli.console import quiet_transformers
    from sbr.cli.progress import steps_progress
    from sbr.report.attention_tables import attention_tables, phrase_table

    quiet_transformers()
    for run in runs:
        check_run(run)
    with steps_progress() as progress:
        for run in runs:
            task = progress.add_task(f"attention of {run.name}", total=len(questions), figures="questions")
            look_into(run, questions, config, lambda done, task=task: progress.update(task, completed=done))
    tables = attention_tables(summarize_attention(runs, questions))
    if phrases:
        folders, wanted = {run.name: run.folder for run in runs}, frozenset(questions)
        records = {
            name: [r for r in read_attention(folder) if (r.level, r.sample_id) in wanted]
            for name, folder in folders.items()
        }
        tables += [phrase_table(p, records, lambda name, record: read_maps(folders[name], record)) for p in phrases]
    return tables


def _chosen(runs: Sequence[EvaluatedRun], config: AttentionConfig, cases: Path | None) -> list[QuestionId]:
    """Raises DataError when the runs share no question, or lack one of the cases."""
    from sbr.analysis.attention_sample import draw, first_answers, read_cases

    if cases is None:
        if not (drawn := draw(runs, config.per_level)):
            raise DataError(f"{', '.join(str(run.folder) for run in runs)} have no question in common")
        return drawn
    questions = read_cases(cases)
    for run in runs:
        answered = first_answers(run)
        if missing := [question for question in questions if question not in answered]:
            level, sample_id = missing[0]
            raise DataError(
                f"{cases} names question {sample_id} of {level}, which {run.folder} has not answered ({len(missing)} "
                f"of {len(questions)}); take the cases of these runs"
            )
    return questions
