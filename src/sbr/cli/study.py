"""`sbr study`: many runs as one object."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import tyro

from sbr.cli import study_list
from sbr.cli.console import ERRORS, Terminal, without_counts
from sbr.config.explain import are_named, sections_in
from sbr.config.section import Section
from sbr.config.study import StudyConfig
from sbr.errors import ConfigError, StoppedError

if TYPE_CHECKING:
    from sbr.analysis.study_runs import StudyRun
    from sbr.cli.worker import Outcome
    from sbr.study.recipes import Study
    from sbr.study.schedule import Schedule
    from sbr.study.state import State

WAIT = 5.0
"""Seconds after which a run that another process holds is looked at again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Args:
    """Run everything that a study names: distillations and trainings (stages) for every base and seed, and the
    evaluation of every arm.

    Runs what is missing, in the order in which it depends on each other; repeat the command after an interruption.  A
    run that fails is named, and everything that does not need it goes on; the same command tries it again.  Several
    processes, also on other machines, may work on one study: a run that one of them holds is waited for.
    `sbr study list STUDY` prints commands for the array job of a cluster, or with --status what is there.

    Examples:
      sbr study recipes/mini/study.toml
      sbr study recipes/mini/study.toml --jobs 2                             two runs at a time
      sbr study recipes/mini/study.toml --only mini/sft_grpo/seed_0/eval     one run and what it needs
      sbr study list recipes/mini/study.toml                                 one command for every model
      sbr study list recipes/mini/study.toml --status

    """

    study: tyro.conf.Positional[Path]
    """The TOML file (docs/studies.md)."""
    jobs: int = 1
    """Runs at the same time, each in a process of its own."""
    only: tuple[str, ...] = ()
    """These runs and what they need, by their folders below output_dir."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr study` and run what is missing.  SystemExit(1) when a run has failed."""
    if arguments[:1] == ["list"]:
        study_list.run(arguments[1:])
        return
    description = f"{inspect.getdoc(Args)}\n\n{keys_help()}"
    args = tyro.cli(Args, args=arguments, prog="sbr study", description=description)
    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; give 1 or more")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("sbr study starts processes of its own; call it without torchrun or accelerate launch")

    from sbr.study.recipes import read_study

    run_study(read_study(args.study), args.jobs, args.only)


def run_study(study: Study, jobs: int, only: tuple[str, ...] = ()) -> tuple[StudyRun, ...]:
    """Run what is missing of `only`, or of everything, then write the tables of all finished runs, which are returned.

    With `only` no tables are written: an array job is one of many.  SystemExit(1) when a run has failed.
    """
    from sbr.cli.early import refuse_study
    from sbr.report.study_tables import write_study
    from sbr.study.results import finished_runs
    from sbr.study.schedule import Schedule, evaluations
    from sbr.study.state import base_fingerprints, check_job, state_of

    wanted = study.graph.before(only) if only else evaluations(study.graph)
    bases = base_fingerprints(study)
    refuse_study(study)
    states: dict[str, State] = {}
    for job in study.graph.jobs.values():
        states[job.name] = state_of(study, job)
        if states[job.name] != "running":
            check_job(study, job, bases)
    schedule = Schedule(study.graph, states, wanted)
    console = Terminal()
    console.print(headline(study, states, schedule), soft_wrap=True)
    with _stopped_by_sigterm(), without_counts():
        _work(study, schedule, bases, jobs)
    for name, error in schedule.failed.items():
        ERRORS.print(f"failed: {name}: {error}")
    for cause in schedule.failed:
        if waiting := [name for name, failed in schedule.left_out.items() if failed == cause]:
            ERRORS.print(f"not run, since they need {cause}: {', '.join(waiting)}")
    runs = finished_runs(study)
    console.print(f"{len(runs)} of {len(study.graph.evaluated)} evaluated models are there", soft_wrap=True)
    if runs and not only:
        table = write_study(runs, study.config.output_dir)
        console.print(f"Tables: {table}; one page: sbr report {study.config.output_dir} -o report.html", soft_wrap=True)
    if schedule.failed:
        ERRORS.print(f"{len(schedule.failed)} runs have failed; the same command tries them again")
        raise SystemExit(1)
    return runs


def headline(study: Study, states: Mapping[str, State], schedule: Schedule) -> str:
    """How many runs there are, and how many are missing."""
    config, graph = study.config, study.graph
    verbs: Counter[str] = Counter(job.verb for job in graph.jobs.values())
    kinds = {"distill": "distillations", "sft": "SFT", "grpo": "GRPO", "eval": "evaluations"}
    parts = ", ".join(f"{verbs[verb]} {name}" for verb, name in kinds.items() if verbs[verb])
    counts: Counter[str] = Counter(states.values())
    text = (
        f"{study.file}: {len(config.arms)} arms, {len(config.bases)} bases, {len(config.seeds)} seeds: "
        f"{len(graph.jobs)} runs ({parts}) in {config.output_dir}\n"
        f"{counts['finished']} finished, {schedule.total} to do"
    )
    for state, words in (("begun", "begun"), ("failed", "failed before"), ("running", "running elsewhere")):
        if counts[state]:
            text += f", {counts[state]} {words}"
    if graph.unused:
        text += f"\nleft out, since no arm needs them: {', '.join(graph.unused)}"
    return text


def _work(study: Study, schedule: Schedule, bases: Mapping[str, str], jobs: int) -> None:
    from sbr.cli.side_by_side import SideBySide
    from sbr.cli.study_job import do_job

    threads = max(1, (os.cpu_count() or 1) // jobs)
    with SideBySide(jobs, threads, keep_bars=False) as side_by_side, side_by_side.bars() as bars:
        bar = bars.add_task("runs", total=schedule.total, completed=0, figures="")
        while schedule.open or schedule.under_way:
            while side_by_side.free and (name := schedule.next(time.monotonic())):
                side_by_side.start(name, partial(do_job, study, study.graph.jobs[name], bases))
            wakes = schedule.wakes if side_by_side.free else None
            left = None if wakes is None else max(0.0, wakes - time.monotonic())
            if not schedule.under_way:
                time.sleep(left or 0.0)
            for name, outcome in side_by_side.ended(left):
                _note(study, schedule, name, outcome)
            failed = f"{len(schedule.failed)} failed" if schedule.failed else ""
            bars.update(bar, completed=schedule.done, figures=failed)


def _note(study: Study, schedule: Schedule, name: str, outcome: Outcome) -> None:
    """Take in how a job has ended, and say so.  Raises StoppedError of a job that was told to stop."""
    from sbr.cli.study_job import Ended, note_failure

    if isinstance(outcome.error, StoppedError):
        raise outcome.error
    if outcome.error is not None:
        words = str(outcome.error)
        note_failure(study, name, words)
        ended = Ended("failed", words)
    else:
        ended = outcome.result
    left = f"{len(schedule.open) + len(schedule.under_way) - 1} to do"
    if ended.how == "busy":
        if not schedule.has_waited(name):
            logger.info("%s: %s; it is waited for", name, ended.words)
        schedule.waits(name, time.monotonic() + WAIT)
    elif ended.how == "failed":
        schedule.fails(name, ended.words)
        logger.error("%s has failed: %s", name, ended.words)
    else:
        schedule.ends(name)
        logger.info("%s is finished%s; %s", name, " by another process" if ended.how == "found" else "", left)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM ends the command as Ctrl-C does: runs write a checkpoint first."""

    def stop(number: int, _: FrameType | None) -> None:
        raise StoppedError("stopped; the same command goes on from here", number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def keys_help() -> str:
    """All keys of a study file, with the text under each."""
    return "Keys of a study file:\n" + "\n".join(_keys_help(StudyConfig, ""))


def _keys_help(kind: type[Section], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        text = " ".join((field.description or "").split())
        yield f"  {prefix + name:<22}{text}"
        for section in sections_in(field.annotation):
            yield from _keys_help(section, f"{prefix}{name}.{'NAME.' if are_named(field.annotation) else ''}")
