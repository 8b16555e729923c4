"""Tables of what is not vision: rotated options, letters, and a run beside the same questions without their media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbr.eval.summary import LevelSummary
from sbr.eval.vision import Vision
from sbr.report.tables import TextTable, accuracy_cell, comparison_tables, interval_cell, p_cell, percent

Runs = Mapping[str, Sequence[LevelSummary]]
"""Names of runs and their figures; the names are shown when there are several."""

SHOWN = {"blind": "blind", "no_video": "image only", "none": "all shown"}
"""How tables and pages call the controls."""


def rotation_tables(runs: Runs) -> list[TextTable]:
    """One table of the runs whose options were rotated, a row a run and level; none when there is no such run."""
    found = [
        (_row_name(runs, name, level.level), level.overall, rotations)
        for name, levels in runs.items()
        for level in levels
        if (rotations := level.rotations) is not None
    ]
    if not found:
        return []
    most = max(len(rotations.by_rotation) for _, _, rotations in found)
    header = ("", "accuracy", "consistent", "same letter", *(f"+{r}" for r in range(most)))
    rows = []
    for name, overall, rotations in found:
        consistent = f"{percent(rotations.consistent)} {interval_cell(rotations.interval)}"
        row = (name, accuracy_cell(overall), consistent, percent(rotations.same_letter))
        places = [percent(accuracy) for accuracy in rotations.by_rotation]
        rows.append((*row, *places, *["-"] * (most - len(places))))
    note = (
        "In %, with 95 % intervals clustered by question. accuracy: mean over all rotations. consistent: right in "
        "every rotation. same letter: answered with one and the same letter in every rotation. +0, +1, ...: accuracy "
        "with the options moved by so many places."
    )
    return [TextTable(f"{_title(runs)}the options in every rotation", header, tuple(rows), note)]


def letter_tables(runs: Runs) -> list[TextTable]:
    """One table of the letters, a block of rows a run and level; none for summaries older than these figures."""
    rows: list[tuple[str, ...]] = []
    for name, levels in runs.items():
        for level in levels:
            if (bias := level.letters) is None:
                continue
            answers = sum(count.gold for count in bias.letters)
            tests = (p_cell(bias.p_chosen), p_cell(bias.p_accuracy))
            label = _row_name(runs, name, level.level)
            for count in bias.letters:
                right = percent(count.right / count.gold) if count.gold else "-"
                shares = (percent(count.gold / answers), percent(count.chosen / answers))
                rows.append((f"{label} {count.letter}".strip(), *shares, right, *tests))
                tests = ("", "")
            rows.append((f"{label} none", "", percent(bias.unread / answers), "", "", ""))
    if not rows:
        return []
    note = (
        "right letter, chosen: % of the answers; none: no letter was read. accuracy: % right where that letter is the "
        "right one. Chi-square tests on the first answer to each question: p (chosen), letters are chosen as often as "
        "they are right; p (accuracy), accuracy is the same for every right letter."
    )
    header = ("", "right letter", "chosen", "accuracy", "p (chosen)", "p (accuracy)")
    return [TextTable(f"{_title(runs)}letters", header, tuple(rows), note)]


def _title(runs: Runs) -> str:
    return f"{next(iter(runs))}, " if len(runs) == 1 else ""


def _row_name(runs: Runs, name: str, level: str) -> str:
    """The level, after the name of the run when there are several."""
    return level if len(runs) == 1 else f"{name} {level}"


def vision_tables(vision: Vision) -> list[TextTable]:
    """A row a level with what is right by guessing, and under every control; below, what showing more adds."""
    controls = list(vision.levels[0].accuracies)
    rows = [
        (
            level.level,
            str(level.accuracies["none"].questions),
            percent(level.chance),
            *(accuracy_cell(level.accuracies[control]) for control in controls),
        )
        for level in vision.levels
    ]
    note = (
        "% right [95 % interval]. chance: by guessing. blind: neither video nor image. image only: no video. What is "
        "right without the media is no vision: it comes from the words, from habits of the data, or from luck."
    )
    header = ("", "n", "chance", *(SHOWN[control] for control in controls))
    first = TextTable("What part of the score is not vision", header, tuple(rows), note)
    return [first, *(table for gain in vision.gains for table in comparison_tables(gain))]
