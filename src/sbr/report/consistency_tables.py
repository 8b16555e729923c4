"""Tables of `sbr analyze consistency`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sbr.analysis.consistency_summary import (
    ALL_LEVELS,
    ConsistencyDifference,
    LevelConsistency,
    RunConsistency,
    Share,
    WaySummary,
)
from sbr.analysis.verdicts import CHANGES, ODDS, WAYS, Way
from sbr.eval.stats import FEWEST
from sbr.report.tables import TextTable, interval_cell, percent, signed_interval

_TITLES: Mapping[Way, str] = {
    "rule": "Does the reasoning entail the answer? By rule",
    "likelihood": "Does the reasoning entail the answer? By the model's own likelihood",
    "judge": "Does the reasoning entail the answer? By a judge",
}
_MEANINGS: Mapping[Way, str] = {
    "rule": "yes: the chosen option is the last that the reasoning names; no: another one is.",
    "likelihood": (
        f"yes: the odds of the answer are at least {ODDS:g} times as high after the model's own reasoning as after "
        f"none and as after that of another question; no: at most 1/{ODDS:g} of both."
    ),
    "judge": (
        "yes: the judge, who sees the reasoning without the answer, reads the chosen option in it; no: another one, or "
        "none."
    ),
}
_NAMES = {"own": "its own", "cut": "half of it", "empty": "none", "other": "another's"}

Runs = Mapping[str, RunConsistency]


def consistency_tables(
    runs: Runs, differences: Mapping[tuple[str, str], Sequence[ConsistencyDifference]]
) -> list[TextTable]:
    """One table for each way that was gone, then dependence, agreement of the ways, and differences between runs."""
    by_way = [_way_table(way, runs) for way in WAYS]
    found = [*by_way, *_dependence_tables(runs), _agreement_table(runs), *_difference_tables(differences)]
    return [table for table in found if table is not None]


def _way_table(way: Way, runs: Runs) -> TextTable | None:
    rows: list[tuple[str, ...]] = []
    reasons: Counter[str] = Counter()
    for name, level, of_way in _of_way(way, runs):
        reasons.update(dict(of_way.reasons))
        answers = of_way.consistent.answers
        rows.append(
            (
                f"{name} {level.level}",
                str(answers),
                share_cell(of_way.consistent),
                share_cell(of_way.inconsistent),
                percent(of_way.untold),
                percent(level.no_answer / answers),
                share_cell(of_way.right_if_consistent),
                share_cell(of_way.right_if_inconsistent),
            )
        )
    if not rows:
        return None
    note = (
        f"n: answers. % of them [95 % interval]. {_MEANINGS[way]} yes, no, neither and no answer (no letter) add up to "
        "100. right if ...: accuracy of these answers."
    )
    if reasons:
        note += f" neither: {', '.join(f'{reason} ({count})' for reason, count in reasons.most_common())}."
    header = ("", "n", "yes", "no", "neither", "no answer", "right if yes", "right if no")
    return TextTable(_TITLES[way], header, tuple(rows), note)


def _of_way(way: Way, runs: Runs) -> list[tuple[str, LevelConsistency, WaySummary]]:
    return [
        (name, level, of_way)
        for name, run in runs.items()
        for level in run.levels
        for of_way in level.ways
        if of_way.way == way
    ]


def _dependence_tables(runs: Runs) -> list[TextTable]:
    found = [
        (f"{name} {level.level}", level.dependence)
        for name, run in runs.items()
        for level in run.levels
        if level.dependence is not None
    ]
    if not found:
        return []
    changes = tuple(
        (name, str(part.answers), *(share_cell(share) for _, share in part.changed), percent(part.own_is_answer))
        for name, part in found
    )
    note = (
        "n: answers in the asked form. % of them [95 % interval] whose most likely letter is not the one after the "
        "model's own reasoning, when that is cut to the first half of its words, removed, or swapped for the reasoning "
        "of another question. same: % in which the letter after its own reasoning is the answer that was given."
    )
    if same_video := sum(part.same_video for _, part in found):
        note += f" {same_video} of the other reasonings are about the same video."
    if names_answer := sum(part.names_answer for _, part in found):
        note += f" {names_answer} of the other reasonings name the answer."
    header = ("", "n", "cut", "removed", "swapped", "same")
    first = TextTable("Does the answer change with the reasoning?", header, changes, note)
    probabilities = tuple(
        (name, *("-" if mean is None else percent(mean) for _, mean in part.probability), percent(part.letters_hold))
        for name, part in found
    )
    note = (
        "Mean probability in % among the letters on offer. letters: % of the whole probability that these letters hold "
        "after the model's own reasoning."
    )
    header = ("", *(_NAMES[after] for after, _ in found[0][1].probability), "letters")
    return [
        first,
        TextTable("How likely is the answer after its own, half, no, other reasoning?", header, probabilities, note),
    ]


def _agreement_table(runs: Runs) -> TextTable | None:
    rows = [
        (
            f"{name} {found.level}",
            f"{found.one}, {found.other}",
            str(found.kappa.answers),
            "-" if found.kappa.agreement is None else percent(found.kappa.agreement),
            "-" if found.kappa.value is None else f"{found.kappa.value:.2f}",
            "-" if (interval := found.kappa.interval) is None else f"[{interval.low:.2f}, {interval.high:.2f}]",
        )
        for name, run in runs.items()
        for found in run.agreements
        if found.kappa.answers and (found.level == ALL_LEVELS or len(run.levels) == 1)
    ]
    if not rows:
        return None
    note = (
        "On the answers (n) that both ways could read: is the answer called consistent (yes), or not (no, neither)? "
        "same: % on which they say the same. kappa: Cohen's, agreement beyond chance; its 95 % interval from whole "
        f"videos drawn with replacement, from {FEWEST} of them on. -: one way says the same of all, or too few videos."
    )
    return TextTable("Do the ways agree?", ("", "ways", "n", "same", "kappa", "interval"), tuple(rows), note)


def _difference_tables(
    differences: Mapping[tuple[str, str], Sequence[ConsistencyDifference]],
) -> list[TextTable]:
    figures = [*WAYS, *CHANGES]
    there = [figure for figure in figures if any(d.figure == figure for part in differences.values() for d in part)]
    rows: list[tuple[str, ...]] = []
    for (base, other), part in differences.items():
        for level in dict.fromkeys(difference.level for difference in part):
            of_level = {d.figure: d for d in part if d.level == level}
            cells = [_difference_cell(of_level.get(figure)) for figure in there]
            rows.append((f"{other} against {base}, {level}", *cells))
            if any(d.by_video is not None for d in of_level.values()):
                rows.append(("by videos", *(_video_cell(of_level.get(figure)) for figure in there)))
    if not rows:
        return []
    note = (
        "In percentage points [95 % interval], paired by question, on the answers that both runs have. rule, "
        "likelihood, judge: of the share of answers with yes; cut, removed, swapped: of the share whose most likely "
        "letter changes. By videos: the same difference, whole videos drawn with replacement. Intervals are not "
        "corrected for their number."
    )
    header = ("", *({"empty": "removed", "other": "swapped"}.get(figure, figure) for figure in there))
    return [TextTable("Differences of consistency", header, tuple(rows), note)]


def share_cell(share: Share | None) -> str:
    return "-" if share is None else f"{percent(share.value)} {interval_cell(share.interval)}"


def _difference_cell(difference: ConsistencyDifference | None) -> str:
    if difference is None:
        return "-"
    interval = difference.paired.interval
    shown = "(too few)" if interval is None else signed_interval(interval)
    return f"{100 * difference.paired.difference:+.2f} {shown}"


def _video_cell(difference: ConsistencyDifference | None) -> str:
    if difference is None or difference.by_video is None:
        return "-"
    return signed_interval(difference.by_video.interval)
