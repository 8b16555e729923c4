"""What the arms of a study took: steps, questions, tokens and seconds of everything that led to each model.

A stage is counted in full for every run that needs it, also when one distillation serves all seeds.  What is not logged
is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from sbr.analysis.study_runs import StudyRun
from sbr.analysis.training_metrics import TrainingMetrics, read_metrics
from sbr.distill.report import REPORT, Report
from sbr.errors import ConfigError, DataError
from sbr.files import read_file
from sbr.resume.folder import MOST_BYTES, RECIPE, flat, read_json
from sbr.train.run_folder import COLD_START, METRICS

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, slots=True)
class Cost:
    """Example, 150 steps of GRPO: Cost(150, 1200, 480_000, 455_000, 612.4, 1)."""

    optimizer_steps: int | None
    questions: int | None
    """Asked or learned from, with repetitions: a step of 8 prompts counts 8, replaced groups count too."""
    sampled_tokens: int | None
    trained_tokens: int | None
    """That went through the training pass, once an update."""
    seconds: float | None
    """Wall-clock time of the steps, or of asking; without validation, saving and loading."""
    processes: int | None
    """At most at the same time."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """A distillation or training of a run."""

    folder: Path
    kind: str
    """ "GRPO", "SFT", "distillation"; "gone" when there is no such folder any more."""
    cost: Cost
    lost_steps: int
    """Steps that metrics.jsonl lacks: they are not in the cost."""
    shared_by: int
    """Runs of the study that need it."""


@dataclass(frozen=True, slots=True)
class RunCost:
    """All stages of one run; none for a model that was not trained."""

    arm: str
    base: str
    seed: int
    stages: tuple[StageCost, ...]

    @property
    def total(self) -> Cost:
        """That of the stages together; `processes` are those of the trainings, a distillation does not log its own."""
        if not self.stages:
            return NONE_AT_ALL
        trainings = [stage.cost for stage in self.stages if stage.kind != DISTILLATION]
        return replace(added([stage.cost for stage in self.stages]), processes=_most_processes(trainings))


DISTILLATION = "distillation"
GONE = "gone"
NOT_RECORDED = Cost(None, None, None, None, None, None)
NONE_AT_ALL = Cost(0, 0, 0, 0, 0.0, None)


def costs_of(runs: Sequence[StudyRun]) -> tuple[RunCost, ...]:
    """In the order of `runs`.

    Raises ConfigError for a stage that is neither a distillation nor a training, DataError for a damaged one.
    """
    stages = {run: _with_cold_starts(run.stages) for run in dict.fromkeys(runs)}
    shared = Counter(place.resolve() for places in stages.values() for place in places)
    known = {place.resolve(): place for places in stages.values() for place in places}
    read = {key: _stage(place, shared[key]) for key, place in known.items()}
    return tuple(
        RunCost(run.arm, run.base, run.seed, tuple(read[place.resolve()] for place in stages[run])) for run in runs
    )


def added(costs: Sequence[Cost]) -> Cost:
    """Together; None as soon as one is not recorded, and for no costs."""
    return Cost(
        optimizer_steps=_sum(cost.optimizer_steps for cost in costs),
        questions=_sum(cost.questions for cost in costs),
        sampled_tokens=_sum(cost.sampled_tokens for cost in costs),
        trained_tokens=_sum(cost.trained_tokens for cost in costs),
        seconds=_sum(cost.seconds for cost in costs),
        processes=_most_processes(costs),
    )


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Mean over seeds, whole numbers rounded; the most processes."""
    total, count = added(costs), len(costs)

    def share(value: float | None) -> int | None:
        return None if value is None else round(value / count)

    seconds = None if total.seconds is None else total.seconds / count
    parts = (total.optimizer_steps, total.questions, total.sampled_tokens, total.trained_tokens)
    return Cost(*map(share, parts), seconds=seconds, processes=total.processes)


def _most_processes(costs: Sequence[Cost]) -> int | None:
    known = [cost.processes for cost in costs if cost.processes is not None]
    return max(known) if len(known) == len(costs) > 0 else None


def _with_cold_starts(stages: Iterable[Path]) -> tuple[Path, ...]:
    """Each preceded by its cold start, and each once."""
    found = [place for stage in stages for place in (stage / COLD_START, stage)]
    there = [place for place in found if place.name != COLD_START or (place / METRICS).is_file()]
    return tuple({place.resolve(): place for place in there}.values())


def _stage(folder: Path, shared_by: int) -> StageCost:
    if not folder.exists():
        return StageCost(folder, GONE, NOT_RECORDED, 0, shared_by)
    if not (folder / RECIPE).is_file():
        raise ConfigError(
            f"{folder} is neither a distillation nor a training: there is no {RECIPE}; correct the stages of the study"
        )
    if "distill" in read_json(folder / RECIPE, "restore it, or correct the stages of the study"):
        return StageCost(folder, DISTILLATION, _of_distillation(folder / REPORT), 0, shared_by)
    run = read_metrics(folder)
    return StageCost(folder, run.kind, _of_training(run), run.missing, shared_by)


def _of_distillation(file: Path) -> Cost:
    content = read_file(file, MOST_BYTES, "run the same `sbr distill` again: it ends with this file")
    try:
        report = TypeAdapter(Report).validate_json(content)
    except ValidationError as error:
        raise DataError(f"{file} is not a report of `sbr distill`: {error.errors()[0]['msg']}") from None
    return Cost(0, report.questions, report.tokens, 0, report.seconds, None)


def _of_training(run: TrainingMetrics) -> Cost:
    recipe = flat(run.recipe)
    steps, prompts = run.steps[-1], recipe.get("train.prompts_per_step")
    asked = None if not isinstance(prompts, int) else prompts * steps
    if run.kind == "SFT":
        return Cost(steps, asked, 0, _total(run, "tokens"), _seconds(run), _processes(run))
    updates, replaced = recipe.get("algo.updates_per_rollout"), _total(run, "replaced_groups")
    return Cost(
        optimizer_steps=None if not isinstance(updates, int) else updates * steps,
        questions=None if asked is None or replaced is None else asked + replaced,
        sampled_tokens=_sampled(run),
        trained_tokens=_total(run, "tokens_trained"),
        seconds=_seconds(run),
        processes=_processes(run),
    )


def _sampled(run: TrainingMetrics) -> int | None:
    """Logged as a rate; a step has a whole number of tokens."""
    rates, seconds = run.values.get("tokens_per_second"), run.values.get("seconds")
    if rates is None or seconds is None:
        return None
    pairs = zip(rates, seconds, strict=True)
    return _sum(None if rate is None or taken is None else round(rate * taken) for rate, taken in pairs)


def _total(run: TrainingMetrics, key: str) -> int | None:
    total = _sum(run.values.get(key, (None,)))
    return None if total is None else round(total)


def _seconds(run: TrainingMetrics) -> float | None:
    return _sum(run.values.get("seconds", (None,)))


def _processes(run: TrainingMetrics) -> int | None:
    values = run.values.get("processes", (None,))
    return None if None in values else round(max(value for value in values if value is not None))


def _sum(values: Iterable[NumberT | None]) -> NumberT | None:
    total: NumberT | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total
