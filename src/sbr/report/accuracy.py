"""Accuracies of several runs in the columns of the paper's Table 2 or 3, the paper's rows below: what tables and page
show.

L1, L2, then the domains of L3 and L3 overall; LongVideoBench has durations, levels, overall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbr.errors import DataError
from sbr.eval.summary import OVERALL, LevelSummary, Slice
from sbr.report.paper import PaperCell, table_2, table_3

PaperRows = Mapping[str, Mapping[str, PaperCell]]


@dataclass(frozen=True, slots=True)
class AccuracyRows:
    """Example: columns ("L1 Daily life", ...), runs (("base", (Slice(...), ...)), ...), paper (("GRPO",
    (PaperCell(46.01, 1119, 2432), ...)), ...)."""

    columns: tuple[str, ...]
    runs: tuple[tuple[str, tuple[Slice, ...]], ...]
    paper: tuple[tuple[str, tuple[PaperCell | None, ...]], ...]
    """None where the paper has no such column."""
    note: str


def accuracy_rows(runs: Mapping[str, Sequence[LevelSummary]], rule: str, paper: bool = False) -> AccuracyRows:
    """One row a run and, with `paper`, those of the paper.

    Raises DataError when the runs have different levels or domains, or no column of the paper's.
    """
    columns = {name: _columns(levels, _of_long_videos(runs)) for name, levels in runs.items()}
    headers = {name: tuple(column for column, _ in parts) for name, parts in columns.items()}
    if len(set(headers.values())) != 1:
        listed = "; ".join(f"{name}: {', '.join(header)}" for name, header in headers.items())
        raise DataError(f"the runs do not share one table, their levels and domains differ ({listed})")
    header = next(iter(headers.values()))
    samples = sorted({levels[0].overall.samples for levels in runs.values()})
    note = f"Rule {rule}, {' or '.join(map(str, samples))} answer(s) a question."
    papers: tuple[tuple[str, tuple[PaperCell | None, ...]], ...] = ()
    if paper:
        number, rows = _paper(runs)
        if not set(header) & (known := next(iter(rows.values()))).keys():
            raise DataError(
                f"no column of the runs ({', '.join(header)}) is in the paper's Table {number} ({', '.join(known)}); "
                "leave --paper out"
            )
        papers = tuple((name, tuple(cells.get(column) for column in header)) for name, cells in rows.items())
        note += _paper_note({column: part.questions for column, part in next(iter(columns.values()))}, number, rows)
    parts = tuple((name, tuple(part for _, part in found)) for name, found in columns.items())
    return AccuracyRows(header, parts, papers, note)


def in_the_paper(runs: Mapping[str, Sequence[LevelSummary]]) -> bool:
    """Whether a column of the runs is one of the paper's."""
    _, rows = _paper(runs)
    columns = {column for levels in runs.values() for column, _ in _columns(levels, _of_long_videos(runs))}
    return not columns.isdisjoint(next(iter(rows.values())))


def level_columns(levels: Sequence[LevelSummary]) -> list[tuple[str, Slice]]:
    """(name, figures) in the order of Table 2; a level with one domain is one column."""
    columns: list[tuple[str, Slice]] = []
    for level in levels:
        if len(level.domains) == 1:
            columns.append((f"{level.level} {level.domains[0].name}", level.overall))
        else:
            columns += [(f"{level.level} {domain.name}", domain) for domain in level.domains]
            columns.append((f"{level.level} {OVERALL}", level.overall))
    return columns


def _columns(levels: Sequence[LevelSummary], long_videos: bool) -> list[tuple[str, Slice]]:
    """As Table 2 has them, or as Table 3 does: that source has one level."""
    if not long_videos:
        return level_columns(levels)
    (level,) = levels
    parts = {grouping.name: grouping.parts for grouping in level.groups}
    columns = [(part.name, part) for part in (*parts["duration"], *parts["level"])]
    return [*columns, (OVERALL, level.overall)]


def _of_long_videos(runs: Mapping[str, Sequence[LevelSummary]]) -> bool:
    return all(
        {"duration", "level"} <= {grouping.name for grouping in level.groups}
        for levels in runs.values()
        for level in levels
    )


def _paper(runs: Mapping[str, Sequence[LevelSummary]]) -> tuple[int, PaperRows]:
    """The number of the table, and its rows."""
    return (3, table_3()) if _of_long_videos(runs) else (2, table_2())


def _paper_note(questions: Mapping[str, int], number: int, rows: PaperRows) -> str:
    """Where the paper's rows come from, and how many questions are behind them when the runs have other numbers."""
    note = (
        f" Rows marked paper: Table {number} of arXiv 2503.24376 (Qwen2-VL-7B) as printed; their Wilson intervals are "
        "ours, from the right answers that the printed figures imply."
    )
    paper = next(iter(rows.values()))
    shared = [column for column in questions if column in paper]
    if "L3 Hobbies" in shared:
        note += " The printed base figure of L3 Hobbies, 32.30, should be 32.20 (95 of 295) to agree with L3 Overall."
    if other := [f"{c} {questions[c]} ({paper[c].questions})" for c in shared if questions[c] != paper[c].questions]:
        note += (
            f" NOT THE SAME QUESTIONS as the paper's; number here (there): {', '.join(other)}. The figures must not be "
            "compared."
        )
    return note
