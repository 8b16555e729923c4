"""Training curves (Fig. 3 of arXiv 2503.24376): metrics of runs -> Curves, seeds of one arm as their mean with a band.

Pure.  Every run is smoothed by itself: the value at a step is the mean over what was logged from step - h to step + h,
h = window // 2; at the ends there is less of it.  So window 1 smooths nothing, and a figure that is logged every 25
steps is not smoothed by a window below 50.

Several seeds of one arm (`sbr.analysis.arms`) give one line, the mean of their smoothed lines, with a band of one
sample standard deviation (n - 1) on either side: how far single runs lie from one another, not an error of the mean.
The line holds the steps that all of them have.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from sbr.analysis.arms import Arm, arms_of
from sbr.analysis.curve_titles import FIGURES, STAGES, Figure
from sbr.analysis.training_metrics import Kind, TrainingMetrics
from sbr.eval.stats import mean_and_sd

WINDOW = 9
"""Steps that are smoothed over where nothing else is asked for."""

Points = Sequence[tuple[int, float | None]]
"""(step, value); None where the value is no finite number."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run of a curve, or the mean of seeds."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float | None, ...]
    """Smoothed; None where what was logged is no finite number."""
    low: tuple[float, ...] | None = None
    """With `high` the band of a mean over seeds."""
    high: tuple[float, ...] | None = None
    raw: tuple[tuple[float | None, ...], ...] = ()
    """What the line is made of, on the same steps: of one run the values as logged, of seeds the line of each."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A picture over steps.

    Example: Curve("Reward", "", "Mean reward of ...", (Line("grpo (3 seeds)", (1, 2, ...), (0.41, 0.42, ...), ...),)).
    """

    title: str
    unit: str
    """"%": the values are fractions.  "" where the figure has none."""
    about: str
    """What it shows and how to read it; then what was left out of it, if anything was."""
    lines: tuple[Line, ...]
    axis: str = "step"
    """What `Line.steps` count."""
    left_out: tuple[str, ...] = ()
    """What `about` ends with: a sentence for everything that was left out."""


def curves_of(runs: Mapping[str, TrainingMetrics], window: int = WINDOW) -> tuple[Curve, ...]:
    """`curves_of_arms`, where runs that differ in their seed alone are an arm."""
    return curves_of_arms(arms_of(runs), window)


def curves_of_arms(arms: Sequence[Arm], window: int = WINDOW) -> tuple[Curve, ...]:
    """Every figure that one of the runs has (`sbr.analysis.training_metrics.read_metrics`), GRPO before SFT.

    Steps of GRPO and of SFT are different things and never share a curve.  Seconds by stage are one curve when there is
    one arm, and a curve a stage when there are several.  Raises ValueError for a window below 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}, expected at least 1 step")
    curves: list[Curve] = []
    for kind in ("GRPO", "SFT"):
        of_kind = [arm for arm in arms if any(run.kind == kind for run in arm.runs.values())]
        curves += _curves(kind, of_kind, window)
    return tuple(curves)


def line_of(name: str, points: Points, window: int) -> Line:
    """One run: `points` (step, value) with rising steps, smoothed over `window` steps, the values as given behind.

    >>> line_of("loss", [(1, 3.0), (2, 2.0), (3, 4.0)], window=3).values
    (2.5, 3.0, 3.0)
    """
    steps, logged = tuple(step for step, _ in points), tuple(value for _, value in points)
    smooth = smoothed(points, window)
    values = tuple(smooth.get(step) for step in steps)
    return Line(name, steps, values, raw=() if values == logged else (logged,))


def smoothed(points: Points, window: int) -> dict[int, float]:
    """step -> mean over the finite values in the window around it, for every step whose own value is finite."""
    known = [(step, value) for step, value in points if value is not None]
    steps, values = [step for step, _ in known], [value for _, value in known]
    half = window // 2
    return {step: fmean(values[bisect_left(steps, step - half) : bisect_right(steps, step + half)]) for step in steps}


def points_of(run: TrainingMetrics, figure: Figure) -> list[tuple[int, float | None]]:
    """What the run has logged of a figure; None for what is no finite number, null is left out."""
    logged = zip(run.steps, run.values.get(figure.key, ()), strict=False)
    return [
        (step, figure.value_of(value) if math.isfinite(value) else None) for step, value in logged if value is not None
    ]


def figures_of(kind: Kind, runs: Iterable[TrainingMetrics]) -> tuple[Figure, ...]:
    """The figures that any of the runs has, seconds by stage at the end."""
    keys = {key for run in runs for key, values in run.values.items() if any(value is not None for value in values)}
    plain = [figure for figure in FIGURES[kind] for figure in figure.named(keys) if figure.key in keys]
    return (*plain, *(stage for stage in STAGES if stage.key in keys))


def _curves(kind: Kind, arms: Sequence[Arm], window: int) -> list[Curve]:
    start = "" if kind == "GRPO" else "SFT: "
    curves: list[Curve] = []
    stages: list[Line] = []
    stage_notes: list[str] = []
    for figure in figures_of(kind, [run for arm in arms for run in arm.runs.values()]):
        found = [_arm_line(arm, figure, window) for arm in arms]
        lines, notes = [line for line, _ in found if line.steps], [note for _, of_arm in found for note in of_arm]
        if figure in STAGES and len(arms) == 1:
            stages += [replace(line, name=figure.stage) for line in lines]
            stage_notes += [f"{figure.stage}, {note}" for note in notes]
        elif lines:
            title = figure.title if start == "" else f"{start}{figure.title[0].lower()}{figure.title[1:]}"
            about = " ".join([figure.about, *notes])
            curves.append(Curve(title, figure.unit, about, tuple(lines), left_out=tuple(notes)))
    if stages:
        about = (
            "Wall-clock seconds of a step by stage, those of the slowest process; validation comes on top of a step."
        )
        about = " ".join([about, *stage_notes])
        title = f"{start}seconds by stage" if start else "Seconds by stage"
        curves.append(Curve(title, "s", about, tuple(stages), left_out=tuple(stage_notes)))
    return curves


def _arm_line(arm: Arm, figure: Figure, window: int) -> tuple[Line, list[str]]:
    """The line of an arm, and a sentence for everything that was left out of it."""
    points = {name: points_of(run, figure) for name, run in arm.runs.items()}
    notes: list[str] = []
    if odd := sum(value is None for of_run in points.values() for _, value in of_run):
        notes.append(f"{arm.name}: {odd} values that are no finite numbers are left out.")
    has = {name: of_run for name, of_run in points.items() if any(value is not None for _, value in of_run)}
    if 0 < len(has) < len(points):  # a seed that is still running, say
        notes.append(f"{arm.name}: {len(points) - len(has)} seeds that have not logged it are left out.")
        points = has
    if len(points) == 1:
        return line_of(arm.name, next(iter(points.values())), window), notes
    of_seeds = {name: smoothed(of_run, window) for name, of_run in points.items()}
    steps = tuple(sorted(set.intersection(*(set(values) for values in of_seeds.values()))))
    if lost := len(set.union(*(set(values) for values in of_seeds.values()))) - len(steps):
        notes.append(f"{arm.name}: {lost} steps that not all seeds have are left out.")
    spread = [mean_and_sd([values[step] for values in of_seeds.values()]) for step in steps]
    means, sds = [found.mean for found in spread], [found.sd or 0.0 for found in spread]
    line = Line(
        arm.name,
        steps,
        tuple(means),
        low=tuple(mean - sd for mean, sd in zip(means, sds, strict=True)),
        high=tuple(mean + sd for mean, sd in zip(means, sds, strict=True)),
        raw=tuple(tuple(values[step] for step in steps) for values in of_seeds.values()),
    )
    return line, notes
