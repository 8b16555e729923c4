"""A study on the page: its results and differences on the first screen, and a chapter of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from sbr.analysis.curves import curves_of_arms
from sbr.analysis.study import ArmFigure, Study
from sbr.eval.summary import OVERALL, levels_of
from sbr.report.accuracy import level_columns
from sbr.report.page.data import Bar, Bars, Curve, Difference, Fraction, PageTable, ResultRow, Section
from sbr.report.page.results import results_of
from sbr.report.page.study_inputs import MOST_SHOWN, PageStudy
from sbr.report.page.tables import page_table
from sbr.report.study_tables import accuracy_table, base_name, costs_table, differences_table
from sbr.report.tables import TextTable

COUNTED = "seeds and questions"
"""By the intervals of a study."""


def study_results(shown: PageStudy) -> tuple[tuple[str, ...], tuple[ResultRow, ...], str]:
    """(columns, rows, note): the mean of every arm over seeds, and over bases where there are several; then the paper's
    rows if it has one of the columns."""
    study, base = shown.study, _base(shown.study)
    columns, rows, note = results_of(shown.asked[:1])
    levels = levels_of(shown.asked[0].records)
    names = {name: (level.level, part.name) for level in levels for name, part in level_columns([level])}
    paper = [row for row in rows if row.paper]
    if set(columns) != names.keys():  # LongVideoBench: by duration, of which a study knows nothing
        columns, paper, note = tuple(names), [], f"Rule {study.rule}."
    places = [names[column] for column in columns]
    figures = {(f.arm, (f.column.level, f.column.part)): f for f in study.figures if f.base == base}
    found = [
        ResultRow(arm, False, tuple(_fraction(figures.get((arm, place))) for place in places)) for arm in study.arms
    ]
    over = "seeds" if base is not None else f"seeds and {len(study.bases)} bases"
    start = f"Means over {over}; intervals count {COUNTED}. Every base and seed stands in the chapter Study."
    return columns, (*found, *paper), f"{start} {note}"


def study_differences(study: Study) -> tuple[Difference, ...]:
    """One a pair and level, over all bases."""
    return tuple(
        Difference(
            base=pair.first,
            other=pair.other,
            level=pair.column.level,
            value=pair.figure.mean,
            low=None if pair.figure.interval is None else pair.figure.interval.low,
            high=None if pair.figure.interval is None else pair.figure.interval.high,
            p=pair.figure.p_value,
            video_low=None,
            video_high=None,
            videos=pair.column.clusters if study.by_video else None,
            p_holm=pair.p_holm,
        )
        for pair in study.pairs
        if pair.base == _base(study) and pair.column.part == OVERALL
    )


def study_findings_note(study: Study) -> str:
    """By what rule a difference is called supported."""
    over = f", mean over {len(study.bases)} bases" if len(study.bases) > 1 else ""
    return (
        f"A difference is claimed where its 95 % interval, which counts seeds and questions{over}, leaves out 0 and "
        "its p, corrected by Holm for the pairs of a level, is at most 0.05. p is the corrected one."
    )


def study_lead(shown: PageStudy) -> str:
    study = shown.study
    counts = ", ".join(f"{column.questions} of {column.level}" for column in study.columns if column.part == OVERALL)
    arms, bases = len(study.arms), len(study.bases)
    return (
        f"A study of {len(study.runs)} runs: {_plural(arms, 'arm')} on {_plural(bases, 'base')}, "
        f"up to {_plural(_most_seeds(study), 'seed')} each. All answered the same questions ({counts})."
    )


def study_limits(shown: PageStudy) -> tuple[str, ...]:
    """What is shown of one seed alone, and what the study cannot tell."""
    study = shown.study
    found = [f"{shown_words(shown)} Outcomes, consistency, letters, health and cases are about these answers alone."]
    if len(study.bases) > 1:
        found.append(
            f"Figures are means over {len(study.bases)} bases ({', '.join(study.bases)}); another base is not covered "
            "by any interval."
        )
    else:
        found.append(f"One base, {', '.join(study.bases)}: another one is not covered by any interval.")
    if few := [f.arm for f in study.figures if not f.counts_seeds and f.base is not None]:
        found.append(f"With one seed an interval counts questions alone: {', '.join(dict.fromkeys(few))}.")
    if study.missing:
        words = [f"{m.arm} lacks {', '.join(map(str, m.seeds)) or 'all'} of {m.base}" for m in study.missing]
        found.append(f"Seeds that were not run: {'; '.join(words)}. Arms are compared on the seeds that both have.")
    return tuple(found)


def shown_words(shown: PageStudy) -> str:
    """ "Answers are those of seed 0 of each arm on mini, 4 of 32 runs." """
    seeds = {seed for seed in shown.seeds.values() if seed is not None}
    listed = ", ".join(f"{seed} of {arm}" for arm, seed in shown.seeds.items() if seed is not None)
    which = f"seed {listed}" if seeds else "each arm"
    if len(seeds) == 1:
        which = f"seed {min(seeds)} of each arm"
    return f"Answers are those of {which} on {shown.base}, {len(shown.asked)} of {len(shown.study.runs)} runs."


def study_section(study: Study) -> Section:
    """Arms by levels with every seed, differences, costs."""
    several = len(study.bases) > 1
    intro = (
        "Every arm's mean over seeds with its 95 % interval, which counts seeds and questions; small dots are single "
        "seeds."
    )
    if several:
        intro += " A colour is a base; the mean is over these bases."
    span = _span(study.figures)
    bars = tuple(
        Bars(
            title=column.name,
            about=f"{column.questions} questions" + (f" of {column.clusters} videos." if study.by_video else "."),
            unit="%",
            bars=tuple(
                Bar(base_name(study, f.base), f.arm, fraction, f.accuracies if len(f.accuracies) > 1 else ())
                for arm in study.arms
                for f in study.figures
                if (f.arm, f.column) == (arm, column) and (fraction := _fraction(f)) is not None
            ),
            span=span,
        )
        for column in study.columns
    )
    tables = [accuracy_table(study), *([differences_table(study)] if study.pairs else [])]
    if any(cost.stages for cost in study.costs):
        tables.append(costs_table(study))
    return Section("study", "Study", intro, bars=bars, tables=tuple(map(_unbroken, tables)))


def _unbroken(table: TextTable) -> PageTable:
    """No line ends inside of an interval or before a p."""

    def kept(cell: str) -> str:
        return re.sub(r"\[[^\]]*\]|(p|sd) [<\d.]+", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), cell)

    return page_table(replace(table, rows=tuple(tuple(map(kept, row)) for row in table.rows)))


def study_curves(shown: PageStudy) -> tuple[Curve, ...]:
    """Of every base that is shown, one after the other; the title names the base where there are several."""
    several = len(shown.study.bases) > 1
    return tuple(
        replace(curve, title=f"{base}: {curve.title}") if several else curve
        for base, arms in shown.arms.items()
        for curve in curves_of_arms(arms)
    )


def study_curves_words(shown: PageStudy) -> str:
    """ " The line of an arm is its mean over seeds, ... " and what is left out."""
    words = (
        " The line of an arm is its mean over seeds, the band one standard deviation; trainings that runs share are "
    )
    words += "in the first of them."
    study = shown.study
    if left := study.bases[len(shown.arms) :]:
        words += f" Not shown: the bases {', '.join(left)}."
    if left := study.arms[MOST_SHOWN:]:
        words += f" Not shown: the arms {', '.join(left)}."
    return words


def _base(study: Study) -> str | None:
    """What the first screen shows: the mean over bases where there are several."""
    first, *others = study.bases
    return None if others else first


def _fraction(figure: ArmFigure | None) -> Fraction | None:
    if figure is None:
        return None
    limits = figure.figure.interval
    low, high = (None, None) if limits is None else (limits.low, limits.high)
    return Fraction(figure.figure.mean, low, high, figure.column.questions)


def _span(figures: Sequence[ArmFigure]) -> tuple[float, float]:
    """Of all pictures, so that they can be compared: to the next 5 points around everything that is drawn."""
    values = [value for f in figures for value in (f.figure.mean, *f.accuracies)]
    values += [limit for f in figures if (i := f.figure.interval) is not None for limit in (i.low, i.high)]
    return math.floor(20 * min(values)) / 20, math.ceil(20 * max(values)) / 20


def _most_seeds(study: Study) -> int:
    return max(len(figure.accuracies) for figure in study.figures)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
