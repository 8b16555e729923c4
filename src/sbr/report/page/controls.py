"""What is not vision: runs without media, rotated options, letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbr.eval.stats import clustered_wilson_interval
from sbr.eval.summary import LevelSummary, levels_of
from sbr.eval.vision import Vision, vision_share
from sbr.report.control_tables import SHOWN, letter_tables, rotation_tables, vision_tables
from sbr.report.page.data import Bar, Bars, Fraction, PageTable, Section
from sbr.report.page.inputs import PageRuns
from sbr.report.page.results import fraction_of
from sbr.report.page.tables import page_table


def controls_section(runs: PageRuns) -> Section | None:
    """Accuracy with less shown; None when no run was shown less.  DataError when the questions differ."""
    bars: list[Bars] = []
    tables: list[PageTable] = []
    for run in runs.asked:
        less = {
            f"{run.name}, {SHOWN[control.recipe.eval.control]}": control.records
            for control in runs.controls.get(run.name, ())
            if control.recipe.eval.control != "none"
        }
        if (vision := vision_share({**less, run.name: run.records})) is None:
            continue
        bars.append(_vision_bars(run.name, vision))
        tables += [page_table(table) for table in vision_tables(vision)]
    if not bars:
        return None
    intro = (
        "The same questions with less shown. What is right without the media is no vision: it comes from the words, "
        "from habits of the data, or from luck."
    )
    return Section("controls", "What is not vision", intro, bars=tuple(bars), tables=tuple(tables))


def rotations_section(runs: PageRuns) -> Section | None:
    rotated = {
        run.name: levels_of(control.records)
        for run in runs.asked
        for control in runs.controls.get(run.name, ())
        if control.recipe.eval.shuffle_options and control.recipe.eval.control == "none"
    }
    if not rotated:
        return None
    bars = Bars(
        "Right in every rotation",
        "Share of the questions that are right whatever letter the right option has.",
        "%",
        tuple(
            Bar(name, level.level, Fraction(found.consistent, found.interval.low, found.interval.high, n))
            for name, levels in rotated.items()
            for level in levels
            if (found := level.rotations) is not None and (n := level.overall.questions)
        ),
    )
    intro = "Every question asked once for each rotation of its options."
    tables = tuple(map(page_table, rotation_tables(rotated)))
    return Section("rotations", "Rotated options", intro, bars=(bars,), tables=tables)


def letters_section(runs: PageRuns) -> Section | None:
    levels = {run.name: levels_of(run.records) for run in runs.asked}
    names = dict.fromkeys(level.level for of_run in levels.values() for level in of_run)
    bars = tuple(_letter_bars(name, levels, runs) for name in names)
    intro = (
        "How often each letter is chosen: a model that favours a letter is right more often when it is the right one."
    )
    return Section("letters", "Letters", intro, bars=bars, tables=tuple(map(page_table, letter_tables(levels))))


def _vision_bars(name: str, vision: Vision) -> Bars:
    chances = {round(level.chance, 6) for level in vision.levels}
    return Bars(
        f"{name}: accuracy with less shown",
        "Blind: neither video nor image. Image only: no video. The line, where there is one, is guessing.",
        "%",
        tuple(
            Bar(SHOWN[control], level.level, fraction_of(part))
            for control in vision.levels[0].accuracies
            for level in vision.levels
            if (part := level.accuracies[control])
        ),
        reference=chances.pop() if len(chances) == 1 else None,
    )


def _letter_bars(level: str, levels: Mapping[str, Sequence[LevelSummary]], runs: PageRuns) -> Bars:
    """The share of answers that chose each letter; the line is equal shares."""
    bars: list[Bar] = []
    offered = ""
    for run in runs.asked:
        records = [record for record in run.records if record.level == level]
        by_question: dict[str, list[str | None]] = {}
        for record in records:
            by_question.setdefault(record.sample_id, []).append(record.extracted)
        (found,) = (summary for summary in levels[run.name] if summary.level == level)
        assert found.letters is not None  # of summaries made here
        offered = "".join(count.letter for count in found.letters.letters)
        for letter in offered:
            shares = [sum(chosen == letter for chosen in answers) / len(answers) for answers in by_question.values()]
            interval = clustered_wilson_interval(shares, len(records) / len(by_question))
            bars.append(
                Bar(run.name, letter, Fraction(sum(shares) / len(shares), interval.low, interval.high, len(shares)))
            )
    return Bars(
        f"Chosen letters, {level}",
        "Share of the answers that chose a letter; the line is equal shares.",
        "%",
        tuple(bars),
        reference=1 / len(offered),
    )
