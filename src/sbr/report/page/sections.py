"""The chapters below the first screen, in order; those with nothing to show are left out, with what would fill them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import join

from sbr.analysis.curves import WINDOW, Curve, Line, curves_of, line_of
from sbr.analysis.flow import flows_of
from sbr.analysis.training_metrics import TrainingMetrics
from sbr.eval.stats import wilson_interval
from sbr.eval.summary import levels_of
from sbr.report.accuracy import benchmark_of, same_questions
from sbr.report.page.consistency import Ruled, consistency_section
from sbr.report.page.controls import controls_section, letters_section, rotations_section
from sbr.report.page.data import Bar, Bars, Fraction, Section
from sbr.report.page.inputs import PageRuns
from sbr.report.page.looks import looks_section
from sbr.report.page.study import study_curves, study_curves_words, study_section
from sbr.report.page.tables import page_table
from sbr.report.published.read import packaged
from sbr.report.published.tables import result_tables
from sbr.report.tables import health_table
from sbr.resume.folder import flat

_DIGITS = 5
"""Significant digits of a curve: more are not seen."""


@dataclass(frozen=True, slots=True)
class Sections:
    shown: tuple[Section, ...]
    left_out: tuple[str, ...]
    """ "no attention: sbr analyze attention A B": what is not shown, and what would fill it."""


def sections_of(runs: PageRuns, ruled: Ruled) -> Sections:
    """Raises DataError as the readers of what is shown do."""
    folders = [str(run.folder) for run in runs.asked]
    trained = [str(training.folder) for training in runs.trained.values()]
    run = f"--run {join(trained[-1:])}" if trained else "with the same settings and"
    found = [
        (None if runs.study is None else study_section(runs.study.study), ""),
        (flows_section(runs), "no outcomes from run to run: give several evaluations of the same questions"),
        (curves_section(runs), "no curves: give the folders of the training runs"),
        (consistency_section(runs, ruled), ""),
        (looks_section(runs), f"no attention: sbr analyze attention {join(folders)}"),
        (controls_section(runs), f"no controls: sbr eval {run} --blind --out FOLDER, then give FOLDER too"),
        (rotations_section(runs), f"no rotations: sbr eval {run} --shuffle-options --out FOLDER, then give FOLDER too"),
        (letters_section(runs), ""),
        (noise_section(runs), "no reward noise: sbr grpo RECIPE --reward.noise 0.2, then give its folder too"),
        (health_section(runs), ""),
        (published_section(runs), ""),
    ]
    shown = tuple(section for section, _ in found if section is not None)
    return Sections(shown, tuple(missing for section, missing in found if section is None and missing))


def flows_section(runs: PageRuns) -> Section | None:
    if len(runs.asked) < 2:
        return None
    flows = flows_of({run.name: run.records for run in runs.asked})
    return Section(
        "flows",
        "Outcomes",
        "Every question goes from right or wrong in one run to right or wrong in the next one. Two runs of equal "
        "accuracy may be right on different questions.",
        flows=flows,
    )


def curves_section(runs: PageRuns) -> Section | None:
    if not runs.trainings:
        return None
    intro = f"Metrics of the trainings, each smoothed over {WINDOW} steps; what was logged stands behind."
    if running := [name for name, run in runs.trainings.items() if not run.finished]:
        intro += f" Not finished: {', '.join(running)}."
    if lost := {name: run.missing for name, run in runs.trainings.items() if run.missing}:
        intro += f" Steps that are not logged: {', '.join(f'{count} of {name}' for name, count in lost.items())}."
    curves = curves_of(runs.trainings) if runs.study is None else study_curves(runs.study)
    if runs.study is not None:
        intro += study_curves_words(runs.study)
    return Section("curves", "Training", intro, curves=tuple(map(_rounded, curves)))


def noise_section(runs: PageRuns) -> Section | None:
    """Trainings whose reward asked for a wrong letter in a share of the questions."""
    trainings = runs.trainings if runs.study is None else runs.trained
    noisy = {name: run for name, run in trainings.items() if (flat(run.recipe).get("reward.noise") or 0) > 0}
    if not noisy:
        return None
    lines = [line for name, run in noisy.items() for line in _noise_lines(name, run)]
    shares = ", ".join(f"{name} {100 * flat(run.recipe)['reward.noise']:g} %" for name, run in noisy.items())
    curve = Curve(
        "Accuracy under reward noise",
        "%",
        "Share of sampled completions with the right letter, and with the letter that was rewarded: where the second "
        "stays below the first, the model resists the wrong labels.",
        tuple(lines),
    )
    intro = f"A share of the training questions rewards a wrong letter: {shares}. Evaluations never see this."
    return Section("noise", "Reward noise", intro, curves=(_rounded(curve),))


def _noise_lines(name: str, run: TrainingMetrics) -> list[Line]:
    found: list[Line] = []
    for key, what in (("accuracy", "right letter"), ("accuracy_rewarded", "rewarded letter")):
        logged = zip(run.steps, run.values.get(key, ()), strict=False)
        found.append(line_of(f"{name}: {what}", [point for point in logged if point[1] is not None], WINDOW))
    return found


def health_section(runs: PageRuns) -> Section:
    levels = {run.name: levels_of(run.records) for run in runs.asked}
    bars: list[Bars] = []
    for title, key, about in (
        ("Asked format", "format_rate", "Share of the answers in the asked format."),
        ("Cut off", "truncated_rate", "Share of the answers that the token limit ended."),
        ("Letters only", "echo_rate", "Share of the answers whose reasoning is empty or says no more than a letter."),
    ):
        found = [
            Bar(name, level.level, _share(getattr(level.overall, key), level.overall.questions * level.overall.samples))
            for name, of_run in levels.items()
            for level in of_run
        ]
        if key == "format_rate" or any(bar.value.value > 0 for bar in found):
            bars.append(Bars(title, about, "%", tuple(found)))
    intro = "Signs of collapse that accuracy does not show."
    return Section("health", "Health", intro, bars=tuple(bars), tables=(page_table(health_table(levels)),))


def published_section(runs: PageRuns) -> Section | None:
    """Results of papers on the same questions; None when the runs answered others."""
    levels = {run.name: levels_of(run.records) for run in runs.asked}
    if not same_questions(levels):
        return None
    intro = (
        "What papers print for the same questions, each with a protocol of its own: other frames, another temperature, "
        "another rule of scoring. docs/published.md says which, and which figures contradict each other."
    )
    tables = result_tables(packaged(), benchmark_of(levels))
    return Section("published", "Published results", intro, tables=tuple(map(page_table, tables)))


def _share(value: float, answers: int) -> Fraction:
    """With Wilson's interval; answers to one question count as independent."""
    interval = wilson_interval(min(value * answers, answers), answers)
    return Fraction(value, interval.low, interval.high, answers)


def _rounded(curve: Curve) -> Curve:
    return replace(curve, lines=tuple(_rounded_line(line) for line in curve.lines))


def _rounded_line(line: Line) -> Line:
    def known(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(float(f"{value:.{_DIGITS}g}") for value in values)

    def maybe(values: Sequence[float | None]) -> tuple[float | None, ...]:
        return tuple(None if value is None else float(f"{value:.{_DIGITS}g}") for value in values)

    return replace(
        line,
        values=maybe(line.values),
        low=None if line.low is None else known(line.low),
        high=None if line.high is None else known(line.high),
        raw=tuple(maybe(values) for values in line.raw),
    )
