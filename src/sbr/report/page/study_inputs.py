"""The folder of a study -> what its page shows: every figure, and one seed of every arm for what needs the answers.

A page of a hundred runs with all their answers would neither fit nor be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sbr.analysis.arms import Arm
from sbr.analysis.evaluated import EvaluatedRun, read_evaluated
from sbr.analysis.study import Study
from sbr.analysis.study_costs import DISTILLATION, GONE, RunCost
from sbr.analysis.study_runs import StudyRun
from sbr.analysis.training_metrics import TrainingMetrics, read_metrics
from sbr.report.study_tables import read_study

MOST_SHOWN = 8
"""Arms whose answers and curves are shown: the page has so many colours."""
MOST_CURVES = 2
"""Bases whose curves are shown."""


@dataclass(frozen=True, slots=True, eq=False)
class PageStudy:
    """Example: 4 arms of 5 seeds on 2 bases; asked 4 evaluations, those of seed 0 on the first base."""

    study: Study
    base: str
    """On which the answers that are shown were given."""
    seeds: Mapping[str, int | None]
    """Arm whose answers are shown -> seed; None for a model that was not trained."""
    asked: tuple[EvaluatedRun, ...]
    """Of these arms and seeds, named by their arms."""
    trainings: Mapping[str, TrainingMetrics]
    """Of every arm and seed that is in `arms`."""
    trained: Mapping[str, TrainingMetrics]
    """Arm in `asked` -> the last training of its model."""
    before: Mapping[str, tuple[TrainingMetrics, ...]]
    """Arm in `asked` -> the trainings before that, in their order."""
    arms: Mapping[str, tuple[Arm, ...]]
    """Of the curves, by base: the trainings of the first arms on the first bases."""


def read_page_study(folder: Path, data: Path | None = None) -> PageStudy:
    """Read study.json, the chosen evaluations and the metrics of the trainings.

    Raises DataError for a damaged study, and as `read_evaluated` and `read_metrics` do.
    """
    study = read_study(folder)
    chosen = _chosen(study)
    asked = read_evaluated({run.arm: run.evaluation for run in chosen})
    if data is not None:
        asked = tuple(run.with_data(data) for run in asked)
    arms = {base: _arms(study, base) for base in study.bases[:MOST_CURVES]}
    trainings = {name: run for of_base in arms.values() for arm in of_base for name, run in arm.runs.items()}
    by_place = {run.folder.resolve(): run for run in trainings.values()}
    stages = {cost.arm: cost.stages for run, cost in zip(study.runs, study.costs, strict=True) if run in chosen}
    of_arm = {
        arm: [by_place[place] for stage in own if (place := stage.folder.resolve()) in by_place]
        for arm, own in stages.items()
    }
    trained = {arm: own[-1] for arm, own in of_arm.items() if own}
    before = {arm: tuple(own[:-1]) for arm, own in of_arm.items()}
    seeds = {run.arm: run.seed if run.stages else None for run in chosen}
    return PageStudy(study, chosen[0].base, seeds, asked, trainings, trained, before, arms)


def _chosen(study: Study) -> list[StudyRun]:
    """One run for each of the first arms, on the first base; the seed that most of them have."""
    base = study.bases[0]
    own = [run for run in study.runs if run.base == base]
    counts = Counter(run.seed for run in own)
    found: list[StudyRun] = []
    for arm in [arm for arm in study.arms if any(run.arm == arm for run in own)][:MOST_SHOWN]:
        found.append(min((run for run in own if run.arm == arm), key=lambda run: (-counts[run.seed], run.seed)))
    return found


def _arms(study: Study, base: str) -> tuple[Arm, ...]:
    """The trainings of every arm by kind: SFT before GRPO is a line among those of SFT.

    A training that several runs share is in the first of them.
    """
    found: dict[tuple[str, str, int], dict[str, TrainingMetrics]] = {}
    seen: set[Path] = set()
    for cost in study.costs:
        if cost.base != base or cost.arm not in study.arms[:MOST_SHOWN]:
            continue
        for number, kind, place in _trainings(cost):
            if place.resolve() not in seen:
                seen.add(place.resolve())
                name = f"{_name(cost.arm, number)}, {base}, {kind}, seed {cost.seed}"
                found.setdefault((cost.arm, kind, number), {})[name] = read_metrics(place)
    return tuple(
        Arm(_name(arm, number) + (f" ({len(runs)} seeds)" if len(runs) > 1 else ""), runs)
        for (arm, _, number), runs in found.items()
    )


def _trainings(cost: RunCost) -> list[tuple[int, str, Path]]:
    """(which of its kind, from 1; kind; folder) of every training of a run that is there."""
    kinds: Counter[str] = Counter()
    found: list[tuple[int, str, Path]] = []
    for stage in cost.stages:
        if stage.kind not in (DISTILLATION, GONE) and stage.folder.is_dir():
            kinds[stage.kind] += 1
            found.append((kinds[stage.kind], stage.kind, stage.folder))
    return found


def _name(arm: str, number: int) -> str:
    """ "GRPO", "GRPO, 2"."""
    return arm if number == 1 else f"{arm}, {number}"
