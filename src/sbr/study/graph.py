"""A study file -> its runs, each with the runs that come before it: pure functions.

    study file: stages x bases x seeds -> Graph of StudyJobs

A job is one run of one verb.  Its name is its folder below output_dir:

    mini/teacher             a shared stage of base mini
    mini/sft/seed_0          a stage with a run for every seed
    mini/sft/seed_0/eval     the evaluation of its final model
    mini/base/eval           the evaluation of the base itself
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from sbr.config.study import BASE, StageConfig, StudyConfig
from sbr.errors import ConfigError

Verb = Literal["distill", "sft", "grpo", "eval"]
EVAL = "eval"
MOST = 100_000
"""Jobs of a study."""


@dataclass(frozen=True, slots=True)
class StudyJob:
    """Example: StudyJob("mini/sft_grpo/seed_0", "grpo", "mini", "sft_grpo", 0, model="mini/sft/seed_0", rows=None)."""

    name: str
    verb: Verb
    base: str
    stage: str
    """`BASE` for the evaluation of a base."""
    seed: int | None
    """None where one run serves all seeds."""
    model: str | None
    """The job whose final model is taken; None: the base."""
    rows: str | None
    """The distillation whose rows are learned."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Jobs that have to be finished before this one."""
        return tuple(name for name in (self.model, self.rows) if name is not None)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A model of an arm.  Example: Evaluated("SFT", "mini", 0, "mini/sft/seed_0/eval")."""

    arm: str
    base: str
    seed: int
    job: str
    """The evaluation; of a model that serves all seeds, and of one that several arms name, the same one."""


@dataclass(frozen=True, slots=True)
class Graph:
    jobs: Mapping[str, StudyJob]
    """By name, each after those that it needs."""
    evaluated: tuple[Evaluated, ...]
    """Every arm for every base and seed."""
    unused: tuple[str, ...]
    """Stages that no arm needs; they have no jobs."""

    def before(self, names: Iterable[str]) -> list[str]:
        """`names` and all that they need, in the order of `jobs`.  Raises ConfigError for a name that is none."""
        wanted: set[str] = set()
        more = list(names)
        while more:
            name = more.pop()
            if name not in self.jobs:
                raise ConfigError(f"the study has no run {name!r}{_near(name, self.jobs)}; `sbr study list` shows all")
            if name not in wanted:
                wanted.add(name)
                more += self.jobs[name].needs
        return [name for name in self.jobs if name in wanted]

    def tiers(self) -> dict[str, int]:
        """Name -> 0 for a job that needs none, else one more than the highest of those that it needs."""
        found: dict[str, int] = {}
        for name, job in self.jobs.items():
            found[name] = max((found[need] + 1 for need in job.needs), default=0)
        return found

    def stages_of(self, name: str) -> list[str]:
        """The distillations and trainings that led to the model of an evaluation, in order."""
        return [before for before in self.before([name]) if self.jobs[before].verb != EVAL]


def graph_of(study: StudyConfig, source: str) -> Graph:
    """Raises ConfigError, which begins with `source`, for names of nothing, circles, and stages that do not fit."""
    stages = study.stages
    for name, stage in stages.items():
        _check_stage(f"{source}: stages.{name}", stage, stages)
    for arm, stage in study.arms.items():
        _check_model(f"{source}: arms.{arm}", stage, stages)
    ordered = _in_order(stages, source)
    used = _used(study.arms.values(), stages)
    if (count := len(study.bases) * (2 * len(used) + 1) * len(study.seeds)) > MOST:
        raise ConfigError(f"{source}: {count:,} runs, and a study has at most {MOST:,}; make several of it")
    jobs: dict[str, StudyJob] = {}
    for base in study.bases:
        for name in [name for name in ordered if name in used]:
            stage = stages[name]
            for seed in study.seeds if stage.seeds == "each" else (None,):
                model = None if stage.model == BASE else _name(base, stage.model, stages, seed)
                rows = None if stage.rows is None else _name(base, stage.rows, stages, seed)
                job = StudyJob(_name(base, name, stages, seed), stage.run, base, name, seed, model, rows)
                jobs[job.name] = job
    evaluated: list[Evaluated] = []
    for arm, stage in study.arms.items():
        for base in study.bases:
            for seed in study.seeds:
                model = None if stage == BASE else _name(base, stage, stages, seed)
                name = f"{base}/{BASE}/{EVAL}" if model is None else f"{model}/{EVAL}"
                own = None if model is None else jobs[model].seed
                jobs.setdefault(name, StudyJob(name, EVAL, base, stage, own, model, None))
                evaluated.append(Evaluated(arm, base, seed, name))
    return Graph(jobs, tuple(evaluated), tuple(name for name in stages if name not in used))


def _name(base: str, stage: str, stages: Mapping[str, StageConfig], seed: int | None) -> str:
    own = stages[stage].seeds == "each"
    return f"{base}/{stage}/seed_{seed}" if own else f"{base}/{stage}"


def _check_stage(where: str, stage: StageConfig, stages: Mapping[str, StageConfig]) -> None:
    _check_model(f"{where}.model", stage.model, stages)
    if stage.rows is not None:
        if stage.run == "distill":
            raise ConfigError(f"{where}.rows: a distillation learns no rows; remove the key")
        if stage.rows not in stages:
            raise ConfigError(f"{where}.rows is {stage.rows!r}, which is no stage{_near(stage.rows, stages)}")
        if stages[stage.rows].run != "distill":
            raise ConfigError(
                f"{where}.rows names {stage.rows}, a run of `sbr {stages[stage.rows].run}`, and only distillations "
                "write rows"
            )
    if stage.seeds == "shared":
        for key, name in (("model", stage.model), ("rows", stage.rows)):
            if name is not None and name in stages and stages[name].seeds == "each":
                raise ConfigError(
                    f'{where}.{key} names {name}, which has a run for every seed, and this stage has seeds = "shared": '
                    f'one run could not take all of them; set seeds = "each" here, or "shared" in stages.{name}'
                )


def _check_model(where: str, name: str, stages: Mapping[str, StageConfig]) -> None:
    if name == BASE:
        return
    if name not in stages:
        raise ConfigError(f"{where} is {name!r}, expected a stage or {BASE}{_near(name, [*stages, BASE])}")
    if stages[name].run == "distill":
        raise ConfigError(
            f"{where} names {name}, a distillation, which has no model; name the stage that learns from it"
        )


def _in_order(stages: Mapping[str, StageConfig], source: str) -> list[str]:
    """The names, each after those that it needs, otherwise as in the file."""
    needs = {name: [need for need in (s.model, s.rows) if need and need in stages] for name, s in stages.items()}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " <- ".join(reversed(error.args[1]))
        raise ConfigError(
            f"{source}: stages need one another in a circle: {circle}; let one begin with a base"
        ) from None


def _used(named: Iterable[str], stages: Mapping[str, StageConfig]) -> set[str]:
    """The stages that arms name, and those before them."""
    used: set[str] = set()
    more = list(named)
    while more:
        name = more.pop()
        if name in stages and name not in used:
            used.add(name)
            more += [need for need in (stages[name].model, stages[name].rows) if need is not None]
    return used


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
