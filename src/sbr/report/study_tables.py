"""A study as files: study.md with its tables for reading, study.json with every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sbr.analysis.study import ArmFigure, PairFigure, Pairs, Study, study_of
from sbr.analysis.study_answers import Watcher
from sbr.analysis.study_costs import DISTILLATION, GONE, Cost, mean_cost
from sbr.analysis.study_runs import STUDY_JSON, StudyRun
from sbr.errors import DataError
from sbr.eval.stats import FEWEST
from sbr.files import read_file, replace_file
from sbr.report.tables import TextTable, interval_cell, markdown_table, p_cell, percent, signed_interval

STUDY_MD = "study.md"
MOST_BYTES = 256 << 20
NOT_RECORDED = "not recorded"
COSTS = ("steps", "questions", "sampled tokens", "trained tokens", "seconds", "processes")
"""Columns of what a run took."""


def write_study(
    runs: Sequence[StudyRun], folder: Path, pairs: Pairs | None = None, watcher: Watcher | None = None
) -> Path:
    """Compute the study of `runs` and write study.json and study.md into `folder`; returns the latter.

    Each is the old one or the new one, also after a kill.  Paths below `folder` are written relative to it, so it may
    be moved.  Raises as `study_of` does.
    """
    study = study_of(runs, pairs, watcher)
    replace_file(folder / STUDY_JSON, study_json(study, folder))
    file = folder / STUDY_MD
    replace_file(file, "\n".join(markdown_table(table) for table in study_tables(study)).encode())
    return file


def study_json(study: Study, folder: Path) -> bytes:
    """The content of study.json in `folder`."""
    home = folder.resolve()

    def place(path: Path) -> str:
        whole = path.resolve()
        return str(whole.relative_to(home) if whole.is_relative_to(home) else whole)

    text = json.dumps(asdict(study), indent=1, ensure_ascii=False, allow_nan=False, default=place)
    return (text + "\n").encode()


def read_study(folder: Path) -> Study:
    """The study that `write_study` has left in `folder`.  Raises DataError when there is none, or it is damaged."""
    file = folder / STUDY_JSON
    try:
        study = TypeAdapter(Study).validate_json(read_file(file, MOST_BYTES, "`sbr study` writes it"))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{file} is not a study: {where}: {problem['msg']}; run the same `sbr study` again") from None
    runs = tuple(
        replace(run, evaluation=folder / run.evaluation, stages=tuple(folder / stage for stage in run.stages))
        for run in study.runs
    )
    costs = tuple(
        replace(cost, stages=tuple(replace(stage, folder=folder / stage.folder) for stage in cost.stages))
        for cost in study.costs
    )
    return replace(study, runs=runs, costs=costs)


def study_tables(study: Study) -> list[TextTable]:
    """Arms by levels with what a run took beside; differences, where there are several arms."""
    tables = [accuracy_table(study, costs=True)]
    return tables if not study.pairs else [*tables, differences_table(study)]


def accuracy_table(study: Study, costs: bool = False) -> TextTable:
    """One row an arm and base, one column a level and domain; with `costs` what one run took beside."""
    several = len(study.bases) > 1
    columns = [column.name for column in study.columns]
    rows: list[tuple[str, ...]] = []
    for base in _places(study):
        for arm in study.arms:
            own = {f.column.name: f for f in study.figures if (f.arm, f.base) == (arm, base)}
            if not own:
                continue
            start = (arm, base_name(study, base)) if several else (arm,)
            first = next(iter(own.values()))
            cells = (*start, seeds_cell(first), *(arm_cell(own[name]) for name in columns))
            rows.append((*cells, *_costs(study, arm, base)) if costs else cells)
    header = ("arm", *(("base",) if several else ()), "seeds", *columns, *(COSTS if costs else ()))
    title = "Accuracy in % [95 % interval]" + (", and what one run took" if costs else "")
    note = " ".join([*accuracy_notes(study), *(cost_notes(study) if costs else ())])
    return TextTable(title, header, tuple(rows), note)


def costs_table(study: Study) -> TextTable:
    """What one run of every arm and base took."""
    several = len(study.bases) > 1
    rows = [
        (arm, *((base,) if several else ()), *_costs(study, arm, base))
        for base in study.bases
        for arm in study.arms
        if any((cost.arm, cost.base) == (arm, base) and cost.stages for cost in study.costs)
    ]
    header = ("arm", *(("base",) if several else ()), *COSTS)
    return TextTable("What one run took", header, tuple(rows), " ".join(cost_notes(study)))


def differences_table(study: Study) -> TextTable:
    """One row for every two arms and base, one column a level and domain."""
    several = len(study.bases) > 1
    columns = [column.name for column in study.columns]
    rows: list[tuple[str, ...]] = []
    for base in _places(study):
        own = [pair for pair in study.pairs if pair.base == base]
        for first, other in dict.fromkeys((pair.first, pair.other) for pair in own):
            found = {pair.column.name: pair for pair in own if (pair.first, pair.other) == (first, other)}
            start = (f"{other} - {first}", *((base_name(study, base),) if several else ()))
            rows.append((*start, seeds_cell(next(iter(found.values()))), *(pair_cell(found[name]) for name in columns)))
    header = ("", *(("base",) if several else ()), "seeds", *columns)
    return TextTable("Differences in percentage points [95 % interval], p", header, tuple(rows), _pairs_note(study))


def cost_cells(cost: Cost) -> tuple[str, ...]:
    """In the order of `COSTS`."""

    def cell(value: float | None) -> str:
        return NOT_RECORDED if value is None else f"{value:,.0f}"

    figures = (cost.optimizer_steps, cost.questions, cost.sampled_tokens, cost.trained_tokens, cost.seconds)
    return (*map(cell, figures), cell(cost.processes))


def arm_cell(figure: ArmFigure) -> str:
    """ "82.31 [78.02, 86.13], sd 1.92" """
    limits = figure.figure.interval
    text = f"{percent(figure.figure.mean)} {'(too few)' if limits is None else interval_cell(limits)}"
    return text if figure.sd is None else f"{text}, sd {percent(figure.sd)}"


def pair_cell(pair: PairFigure) -> str:
    """ "+4.20 [+1.02, +7.38] p 0.012" """
    limits = pair.figure.interval
    text = f"{100 * pair.figure.mean:+.2f}"
    if limits is not None:
        text += f" {signed_interval(limits)}"
    elif pair.p_holm is None:
        return f"{text} (too few)"
    return f"{text} p {p_cell(pair.p_holm)}"


def seeds_cell(figure: ArmFigure | PairFigure) -> str:
    """ "5", "1 (not counted)", "none" for what was not trained."""
    if not figure.seeds:
        return "none"
    return f"{len(figure.seeds)}" if figure.counts_seeds else f"{len(figure.seeds)} (not counted)"


def base_name(study: Study, base: str | None) -> str:
    return f"mean of {len(study.bases)}" if base is None else base


def _places(study: Study) -> list[str | None]:
    return list(dict.fromkeys(figure.base for figure in study.figures))


def _costs(study: Study, arm: str, base: str | None) -> tuple[str, ...]:
    if base is None:
        return ("",) * len(COSTS)
    own = [cost for cost in study.costs if (cost.arm, cost.base) == (arm, base)]
    return (
        ("-",) * len(COSTS) if not any(cost.stages for cost in own) else cost_cells(mean_cost([c.total for c in own]))
    )


def accuracy_notes(study: Study) -> list[str]:
    """How the accuracies and their intervals are meant, a sentence each."""
    columns = ", ".join(f"{column.questions} of {column.name}" for column in study.columns)
    notes = [
        f"Mean over seeds; {columns} questions, {study.samples} answer(s) each, rule {study.rule}.",
        "Intervals count seeds and questions, which are crossed; sd: over seeds, in points (docs/statistics.md).",
    ]
    if study.by_video:
        clusters = ", ".join(f"{column.clusters} in {column.name}" for column in study.columns)
        notes.append(f"Questions of one video count together ({clusters} videos).")
    else:
        notes.append("Not every answer names its video: questions of one video count as independent.")
    if any(column.clusters < FEWEST for column in study.columns):
        notes.append(f"Too few: an interval needs {FEWEST} videos.")
    if len(study.bases) > 1:
        notes.append(
            f"The mean of {len(study.bases)} is over these bases, which are not resampled: its intervals say nothing "
            "of others. Its seeds are those of every base."
        )
    if any(not figure.counts_seeds for figure in study.figures):
        notes.append("Not counted: with one seed an interval counts questions alone.")
    if any(not figure.seeds for figure in study.figures):
        notes.append("None: a model that was not trained has no seeds.")
    for missing in study.missing:
        seeds = ", ".join(map(str, missing.seeds)) or "any"
        notes.append(f"{missing.arm} lacks seed {seeds} of {missing.base}.")
    return notes


def cost_notes(study: Study) -> list[str]:
    """What the columns of `COSTS` hold, a sentence each."""
    if not any(cost.stages for cost in study.costs):
        return []
    notes = [
        "Steps (of the optimizer) to processes: of one run with all its stages, mean over seeds. Questions: with "
        "repetitions. Trained tokens: through the training pass, once an update. Seconds: of steps and of asking, "
        "without validation, saving and loading. Processes: of the trainings."
    ]
    stages = {stage.folder: stage for cost in study.costs for stage in cost.stages}.values()
    if shared := [stage for stage in stages if stage.shared_by > 1]:
        runs = ", ".join(f"{'/'.join(stage.folder.parts[-2:])} by {stage.shared_by} runs" for stage in shared)
        notes.append(f"Counted in full for every run that shares them: {runs}.")
    if any(stage.kind == DISTILLATION for stage in stages):
        notes.append("A distillation takes no steps and trains on no tokens.")
    if lost := sum(stage.lost_steps for stage in stages):
        notes.append(f"{lost} steps are not logged; tokens and seconds lack them.")
    if gone := [str(stage.folder) for stage in stages if stage.kind == GONE]:
        notes.append(f"Folders that are gone: {', '.join(gone)}.")
    return notes


def _pairs_note(study: Study) -> str:
    notes = [
        "On the seeds that both have and the same questions, both counted in interval and p.",
        "p is corrected by Holm for the number of pairs of a base and column.",
    ]
    if not study.all_pairs:
        notes.append("Not every two arms are compared.")
    notes.append(f"{STUDY_JSON} also has the p before correction and the intervals of the crossed bootstrap.")
    return " ".join(notes)
