"""The finished runs of a study -> Study: what every arm reached, how arms differ, what they took.

Arms are compared on the same seeds and the same questions; intervals count both (`sbr.analysis.crossed`).  A model
that was not trained has no seeds: it is one and the same beside every seed of a trained arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from sbr.analysis.crossed import RESAMPLES, Answers, Crossed
from sbr.analysis.study_answers import Column, ColumnAnswers, Watcher, read_answers
from sbr.analysis.study_costs import RunCost, costs_of
from sbr.analysis.study_runs import StudyRun
from sbr.errors import ConfigError
from sbr.eval.stats import holm, mean_and_sd

ALL_PAIRS = 6
"""Up to so many arms every two are compared; of more, each with the first."""


@dataclass(frozen=True, slots=True)
class ArmFigure:
    """What one arm reached in one column.

    Example: "GRPO" on "mini", L1: 0.823 [0.780, 0.861], seeds 0, 1, 2 with 0.81, 0.83, 0.83, sd 0.012.
    """

    arm: str
    base: str | None
    """None: the mean over all bases of the study."""
    column: Column
    figure: Crossed
    seeds: tuple[int, ...]
    """Those of the base; of a mean over bases those of all; none for a model that was not trained."""
    accuracies: tuple[float, ...]
    """One a seed, in their order; none for a mean over bases."""
    sd: float | None
    """Over seeds, n - 1; None for fewer than two and for a mean over bases."""
    counts_seeds: bool
    """The interval counts the seeds: there are several on every base, or none is needed."""


@dataclass(frozen=True, slots=True)
class PairFigure:
    """By how much `other` is better than `first` in one column, on the seeds that both have."""

    first: str
    other: str
    base: str | None
    column: Column
    figure: Crossed
    p_holm: float | None
    """`figure.p_value`, corrected for the number of pairs of this base and column."""
    seeds: tuple[int, ...]
    """As in `ArmFigure`."""
    counts_seeds: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Seeds that other trained arms of the base have and this one lacks; all of them where it was not run there."""

    arm: str
    base: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """study.json; the keys on disk are these field names."""

    runs: tuple[StudyRun, ...]
    arms: tuple[str, ...]
    bases: tuple[str, ...]
    columns: tuple[Column, ...]
    figures: tuple[ArmFigure, ...]
    """By base, the mean over bases last where there are several; then by column and arm."""
    pairs: tuple[PairFigure, ...]
    """In the same order."""
    all_pairs: bool
    """Every two arms are compared."""
    costs: tuple[RunCost, ...]
    """One a run, in the order of `runs`."""
    missing: tuple[Missing, ...]
    rule: str
    samples: int
    """Answers a question."""
    by_video: bool
    """Questions of one video are resampled together; otherwise each counts by itself: not every record names it."""
    resamples: int


Pairs = Sequence[tuple[str, str]]
_Rows = Mapping[tuple[str, str], Mapping[int | None, int]]
"""(arm, base) -> seed -> place of its run; the seed is None for a model that was not trained."""


def study_of(
    runs: Sequence[StudyRun],
    pairs: Pairs | None = None,
    watcher: Watcher | None = None,
    resamples: int = RESAMPLES,
) -> Study:
    """Read the runs and compare the arms; `pairs` are (first, other), by default as `ALL_PAIRS` says.

    Raises ConfigError for no runs, a run that is given twice and a pair of no two arms; DataError when evaluations did
    not answer the same questions, and as the readers do.
    """
    if not runs:
        raise ConfigError("a study needs at least one finished run")
    rows = _rows(runs)
    arms, bases = tuple(dict.fromkeys(run.arm for run in runs)), tuple(dict.fromkeys(run.base for run in runs))
    compared = _pairs(arms, pairs)
    answers = read_answers(runs, watcher)
    places: list[str | None] = [*bases, None] if len(bases) > 1 else [*bases]
    figures: list[ArmFigure] = []
    differences: list[PairFigure] = []
    drawn = [(found, Answers(found.shares_RQ, found.cluster_Q, resamples)) for found in answers.columns]
    for base in places:
        inside = bases if base is None else (base,)
        for found, of_column in drawn:
            figures += [f for arm in arms if (f := _arm(arm, base, inside, rows, found, of_column)) is not None]
            pair_figures = [_pair(*pair, base, inside, rows, found, of_column) for pair in compared]
            differences += _corrected([figure for figure in pair_figures if figure is not None])
    return Study(
        runs=tuple(runs),
        arms=arms,
        bases=bases,
        columns=tuple(found.column for found in answers.columns),
        figures=tuple(figures),
        pairs=tuple(differences),
        all_pairs=len(compared) == len(arms) * (len(arms) - 1) // 2,
        costs=costs_of(runs),
        missing=_missing(rows, bases),
        rule=answers.rule,
        samples=answers.samples,
        by_video=answers.by_video,
        resamples=resamples,
    )


def _rows(runs: Sequence[StudyRun]) -> dict[tuple[str, str], dict[int | None, int]]:
    found: dict[tuple[str, str], dict[int | None, int]] = {}
    for place, run in enumerate(runs):
        of_arm = found.setdefault((run.arm, run.base), {})
        if run.seed in of_arm:
            raise ConfigError(
                f"the study has two runs of {run.arm}, {run.base}, seed {run.seed}; leave one of them out"
            )
        of_arm[run.seed] = place
    return {arm: _without_seeds(of_arm, runs) for arm, of_arm in found.items()}


def _without_seeds(of_arm: Mapping[int | None, int], runs: Sequence[StudyRun]) -> dict[int | None, int]:
    """The one model of an arm that was not trained, which may be given once or beside every seed."""
    own = [runs[place] for place in of_arm.values()]
    same = len({run.evaluation.resolve() for run in own}) == 1 and not any(run.stages for run in own)
    return {None: next(iter(of_arm.values()))} if same else dict(of_arm)


def _pairs(arms: Sequence[str], pairs: Pairs | None) -> list[tuple[str, str]]:
    if pairs is None:
        return list(combinations(arms, 2)) if len(arms) <= ALL_PAIRS else [(arms[0], arm) for arm in arms[1:]]
    for first, other in pairs:
        if first == other or first not in arms or other not in arms:
            raise ConfigError(f"{first} and {other} are no two arms of the study ({', '.join(arms)}); correct the pair")
    return list(dict.fromkeys(pairs))


def _arm(
    arm: str, base: str | None, inside: Sequence[str], rows: _Rows, found: ColumnAnswers, answers: Answers
) -> ArmFigure | None:
    """None where the arm lacks one of the bases `inside`."""
    own = [rows.get((arm, name), {}) for name in inside]
    if not all(own):
        return None
    accuracies = [] if base is None else [float(found.shares_RQ[place].mean()) for place in own[0].values()]
    return ArmFigure(
        arm=arm,
        base=base,
        column=found.column,
        figure=answers.accuracy([list(seeds.values()) for seeds in own]),
        seeds=_seeds(own),
        accuracies=tuple(accuracies),
        sd=mean_and_sd(accuracies).sd if accuracies else None,
        counts_seeds=all(len(seeds) > 1 or None in seeds for seeds in own),
    )


def _pair(
    first: str,
    other: str,
    base: str | None,
    inside: Sequence[str],
    rows: _Rows,
    found: ColumnAnswers,
    answers: Answers,
) -> PairFigure | None:
    """None where they share no seed on one of the bases `inside`."""
    both = [_common(rows.get((first, name), {}), rows.get((other, name), {})) for name in inside]
    if not all(both):
        return None
    return PairFigure(
        first=first,
        other=other,
        base=base,
        column=found.column,
        figure=answers.difference([list(pairs.values()) for pairs in both]),
        p_holm=None,
        seeds=_seeds(both),
        counts_seeds=all(len(pairs) > 1 or None in pairs for pairs in both),
    )


def _common(first: Mapping[int | None, int], other: Mapping[int | None, int]) -> dict[int | None, tuple[int, int]]:
    """Seed -> places of both; a model without seeds stands beside every seed of the other."""
    if None in first and None not in other:
        return {seed: (first[None], place) for seed, place in other.items()}
    if None in other and None not in first:
        return {seed: (place, other[None]) for seed, place in first.items()}
    return {seed: (place, other[seed]) for seed, place in first.items() if seed in other}


def _seeds(found: Sequence[Mapping[int | None, object]]) -> tuple[int, ...]:
    return tuple(sorted({seed for seeds in found for seed in seeds if seed is not None}))


def _corrected(pairs: Sequence[PairFigure]) -> list[PairFigure]:
    p_values = [pair.figure.p_value for pair in pairs if pair.figure.p_value is not None]
    corrected = iter(holm(p_values))
    return [pair if pair.figure.p_value is None else replace(pair, p_holm=next(corrected)) for pair in pairs]


def _missing(rows: _Rows, bases: Sequence[str]) -> tuple[Missing, ...]:
    found: list[Missing] = []
    for base in bases:
        trained = {arm: seeds for (arm, of), seeds in rows.items() if of == base and None not in seeds}
        wanted = {seed for seeds in trained.values() for seed in seeds if seed is not None}
        for arm in dict.fromkeys(arm for arm, _ in rows):
            lacking = wanted - trained[arm].keys() if arm in trained else wanted
            if (lacking and arm in trained) or (arm, base) not in rows:
                found.append(Missing(arm, base, tuple(sorted(lacking))))
    return tuple(found)
