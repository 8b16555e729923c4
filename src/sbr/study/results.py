"""What a study hands to its statistics."""

from __future__ import annotations

from sbr.analysis.study_runs import StudyRun
from sbr.study.recipes import Study
from sbr.study.state import state_of


def finished_runs(study: Study) -> tuple[StudyRun, ...]:
    """Every finished evaluation, arms in the order of the file, then bases, then seeds.

    A model that serves all seeds (a base, a shared stage) stands there once for every seed, with the same folder.
    """
    states = {name: state_of(study, study.graph.jobs[name]) for name in {run.job for run in study.graph.evaluated}}
    return tuple(
        StudyRun(
            arm=run.arm,
            base=run.base,
            seed=run.seed,
            evaluation=study.folder(run.job),
            stages=tuple(study.folder(stage) for stage in study.graph.stages_of(run.job)),
        )
        for run in study.graph.evaluated
        if states[run.job] == "finished"
    )
