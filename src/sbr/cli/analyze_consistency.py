"""`sbr analyze consistency RUN...`: does the reasoning entail the answer?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from sbr.cli.early import refuse_early
from sbr.cli.progress import Bars, steps_progress
from sbr.config.consistency import ConsistencyRecipe
from sbr.config.load import validate
from sbr.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import TaskID


@dataclass(frozen=True)
class Args:
    """Tell for the answers of finished evaluations whether the reasoning entails the answer, in three ways.

      rule         the chosen option is the last that the reasoning names (the rule of the consistency reward)
      likelihood   the model finds its answer likelier after its own reasoning than after none and after another
                   question's; and does its letter change when the reasoning is cut, removed or swapped?
      judge        a language model behind a server reads the reasoning without the answer, and names what it concludes

    What was found lies in RUN/consistency; the same command continues after an interruption, and a judge that is named
    later is asked without doing the rest again.  Several runs are compared with the first, answer by answer.

    Examples:
      sbr analyze consistency runs/demo/eval_base runs/demo/eval_grpo_0
      sbr analyze consistency runs/base runs/grpo --names base GRPO --per-level 100 --out runs/consistency.md
      sbr analyze consistency runs/grpo --judge-url http://localhost:8000/v1 --judge-model Qwen/Qwen3-32B
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `sbr eval` has written."""
    names: tuple[str, ...] | None = None
    """How to call them in the tables (default: the names of the folders)."""
    data: Path | None = None
    """Where the data now lies, if it has been moved since the evaluation."""
    per_level: int | None = None
    """Look at so many questions of each level, chosen by a hash of their names (default: all)."""
    judge_url: tuple[str, ...] | None = None
    """Address of the judge's server, such as http://localhost:8000/v1, or of several with the same model."""
    judge_model: str | None = None
    """Name of the judge at the server."""
    judge_tokens: int | None = None
    """Longest reply of the judge, its own thoughts included (default: 1024)."""
    judge_key_env: str | None = None
    """Environment variable with the key of the judge's server (default: OPENAI_API_KEY)."""
    concurrency: int | None = None
    """Requests to each server of the judge at the same time (default: 16)."""
    out: Path | None = None
    """Also write the tables as Markdown."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr analyze consistency`, do what is missing, and print the tables."""
    args = tyro.cli(Args, args=arguments, prog="sbr analyze consistency", description=inspect.getdoc(Args))
    recipe = recipe_of(args)
    if not args.runs:
        raise ConfigError("sbr analyze consistency needs at least one evaluation; see `sbr analyze consistency --help`")

    from sbr.analysis.evaluated import read_evaluated
    from sbr.cli.compare import names_of

    names = args.names or names_of(args.runs)
    if len(names) != len(args.runs) or len(set(names)) < len(names):
        raise ConfigError(
            f"the evaluations are called {' '.join(names)}; --names gives {len(args.runs)} different name(s)"
        )
    if len({path.resolve() for path in args.runs}) < len(args.runs):
        raise ConfigError("sbr analyze consistency was given one evaluation twice")
    runs = read_evaluated(dict(zip(names, args.runs, strict=True)))
    if args.data is not None:
        runs = tuple(run.with_data(args.data) for run in runs)
    for evaluated in runs:
        refuse_early(evaluated.recipe)

    from sbr.analysis.consistency import analyse_consistency  # torch and transformers, slower than a refusal
    from sbr.analysis.consistency_summary import compare_consistency, summarize_consistency
    from sbr.cli.console import Terminal, quiet_transformers
    from sbr.report.consistency_tables import consistency_tables
    from sbr.report.tables import rich_table, write_markdown

    quiet_transformers()
    found = {}
    for evaluated in runs:
        with Bar(evaluated.name) as bar:
            found[evaluated.name] = analyse_consistency(evaluated, recipe, bar)
    first, *others = found
    tables = consistency_tables(
        {name: summarize_consistency(records) for name, records in found.items()},
        {(first, other): compare_consistency(found[first], found[other]) for other in others},
    )
    console = Terminal()
    for table in tables:
        console.print(rich_table(table))
    if args.out is not None:
        write_markdown(tables, args.out)


def recipe_of(args: Args) -> ConsistencyRecipe:
    """The settings that the flags make.  Raises ConfigError."""
    if (args.judge_url is None) != (args.judge_model is None):
        given, lacks = (
            ("--judge-url", "--judge-model") if args.judge_url is not None else ("--judge-model", "--judge-url")
        )
        raise ConfigError(f"{given} needs {lacks}: a judge is a model at a server")
    further = {
        "--judge-tokens": args.judge_tokens,
        "--judge-key-env": args.judge_key_env,
        "--concurrency": args.concurrency,
    }
    if args.judge_url is None:
        if named := [flag for flag, value in further.items() if value is not None]:
            raise ConfigError(f"{', '.join(named)}: of a judge, which --judge-url and --judge-model name")
        return validate(ConsistencyRecipe, {"per_level": args.per_level}, "sbr analyze consistency")
    engine = {"url": args.judge_url, "api_key_env": args.judge_key_env, "concurrency": args.concurrency}
    judge = {"model": args.judge_model, "max_new_tokens": args.judge_tokens}
    values: dict[str, Any] = {
        "per_level": args.per_level,
        "judge": {**_given(judge), "engine": {"kind": "endpoint", **_given(engine)}},
    }
    return validate(ConsistencyRecipe, values, "sbr analyze consistency")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


class Bar:
    """Progress of one run; a `sbr.analysis.consistency.Watcher`."""

    def __init__(self, name: str, bars: Callable[[], Bars] = steps_progress) -> None:
        self._name = name
        self._progress = bars()
        self._task: TaskID | None = None
        self._done = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, what: str, done: int, total: int) -> None:
        if done == total:
            return
        self._done = done
        self._progress.start()
        description = f"{self._name}: {what}" if self._name else what
        self._task = self._progress.add_task(description, total=total, completed=done, figures="")

    def did(self, new: int) -> None:
        self.reached(self._done + new)

    def reached(self, done: int) -> None:
        self._done = done
        if self._task is not None:
            self._progress.update(self._task, completed=done)
