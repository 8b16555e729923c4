"""The evaluations of a study -> who was right on what: one matrix a level and domain, runs by questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbr.analysis.evaluated import read_evaluated
from sbr.analysis.study_runs import StudyRun
from sbr.eval.compare import refuse_unlike
from sbr.eval.records import correct_by_question
from sbr.eval.summary import OVERALL, in_natural_order, question_accuracies
from sbr.types import EvalRecord

Watcher = Callable[[int, int], None]
"""Told after every evaluation that was read: how many, of how many."""


@dataclass(frozen=True, slots=True)
class Column:
    """A level, or one of its domains where it has several.  Example: Column("L3", "Hobbies", 295, 61)."""

    level: str
    part: str
    """`sbr.eval.summary.OVERALL`, or the domain."""
    questions: int
    clusters: int
    """Videos that the questions are of; questions, where not every record names its video."""

    @property
    def name(self) -> str:
        """
        >>> Column("L3", "Overall", 1321, 200).name
        'L3'
        """
        return self.level if self.part == OVERALL else f"{self.level} {self.part}"


@dataclass(frozen=True, slots=True, eq=False)
class ColumnAnswers:
    """Answers to the questions of a column."""

    column: Column
    shares_RQ: np.ndarray
    """Of R runs, in their order: the share of right answers to each of Q questions, 0 or 1 where one was asked for."""
    cluster_Q: np.ndarray
    """Numbers, from 0, of the videos."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyAnswers:
    columns: tuple[ColumnAnswers, ...]
    """Levels in natural order, each followed by its domains where it has several."""
    rule: str
    samples: int
    """Answers a question, rotations of its options included."""
    by_video: bool
    """Every record names its video."""


def read_answers(runs: Sequence[StudyRun], watcher: Watcher | None = None) -> StudyAnswers:
    """Read every evaluation once; of the records only who was right is kept.

    Raises as `read_evaluated` does, and DataError when two evaluations did not answer the same questions.
    """
    first: list[EvalRecord] = []
    shares: dict[Path, list[float]] = {}
    for number, run in enumerate(runs, start=1):
        place = run.evaluation.resolve()
        if place not in shares:
            (evaluated,) = read_evaluated({_name(run): run.evaluation})
            if first:
                refuse_unlike(first, evaluated.records, _name(runs[0]), evaluated.name)
            else:
                first = list(evaluated.records)
            shares[place] = _in_order_of(first, evaluated.records)
        if watcher is not None:
            watcher(number, len(runs))
    shares_RQ = np.array([shares[run.evaluation.resolve()] for run in runs])
    questions = list({(record.level, record.sample_id): record for record in first}.values())
    by_video = all(record.video_id is not None for record in questions)
    names = [record.video_id if by_video else f"{record.level} {record.sample_id}" for record in questions]
    columns = tuple(_column(level, part, places, shares_RQ, names) for level, part, places in _parts(questions))
    return StudyAnswers(columns, first[0].rule, len(first) // len(questions), by_video)


def _parts(questions: Sequence[EvalRecord]) -> list[tuple[str, str, list[int]]]:
    """(level, domain or OVERALL, places of its questions)."""
    found: list[tuple[str, str, list[int]]] = []
    for level in in_natural_order({record.level for record in questions}):
        of_level = [place for place, record in enumerate(questions) if record.level == level]
        found.append((level, OVERALL, of_level))
        domains = in_natural_order({questions[place].domain for place in of_level})
        if len(domains) > 1:
            found += [(level, name, [p for p in of_level if questions[p].domain == name]) for name in domains]
    return found


def _column(
    level: str, part: str, places: Sequence[int], shares_RQ: np.ndarray, names: Sequence[str | None]
) -> ColumnAnswers:
    videos, cluster_Q = np.unique([str(names[place]) for place in places], return_inverse=True)
    return ColumnAnswers(Column(level, part, len(places), len(videos)), shares_RQ[:, places], cluster_Q)


def _in_order_of(first: Sequence[EvalRecord], records: Sequence[EvalRecord]) -> list[float]:
    """The share of right answers to each question of `first`, in its order."""
    keys = dict.fromkeys((record.level, record.sample_id) for record in records)
    shares = dict(zip(keys, question_accuracies(correct_by_question(records)), strict=True))
    return [shares[key] for key in dict.fromkeys((record.level, record.sample_id) for record in first)]


def _name(run: StudyRun) -> str:
    return f"{run.arm}, {run.base}, seed {run.seed}"
