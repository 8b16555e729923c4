"""Accuracies of several runs in the columns of the paper's Table 2 or 3, published rows below: what tables and page
show.

L1, L2, then the domains of L3 and L3 overall; LongVideoBench has durations, levels, overall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbr.errors import DataError
from sbr.eval.summary import OVERALL, LevelSummary, Slice
from sbr.report.paper import table_2, table_3
from sbr.report.published.rows import Figure, ResultTable

PublishedRows = Mapping[str, Mapping[str, Figure]]
"""Name of the row -> its figures by column."""


@dataclass(frozen=True, slots=True)
class AccuracyRows:
    """Example: columns ("L1 Daily life", ...), runs (("base", (Slice(...), ...)), ...), paper (("GRPO",
    (Figure(46.01, 2, 2432), ...)), ...), others (("Qwen2.5-VL-7B, GRPO-CARE (arXiv 2506.16141)", ...), ...)."""

    columns: tuple[str, ...]
    runs: tuple[tuple[str, tuple[Slice, ...]], ...]
    paper: tuple[tuple[str, tuple[Figure | None, ...]], ...]
    """None where the paper has no such column."""
    others: tuple[tuple[str, tuple[Figure | None, ...]], ...]
    """Rows of other published tables."""
    note: str


def accuracy_rows(
    runs: Mapping[str, Sequence[LevelSummary]], rule: str, paper: bool = False, published: Sequence[ResultTable] = ()
) -> AccuracyRows:
    """One row a run, with `paper` those of the paper, then those of `published` that have one of the columns.

    Raises DataError when the runs have different levels or domains, or no column of the paper's or of `published`.
    """
    columns = {name: _columns(levels, _of_long_videos(runs)) for name, levels in runs.items()}
    headers = {name: tuple(column for column, _ in parts) for name, parts in columns.items()}
    if len(set(headers.values())) != 1:
        listed = "; ".join(f"{name}: {', '.join(header)}" for name, header in headers.items())
        raise DataError(f"the runs do not share one table, their levels and domains differ ({listed})")
    header = next(iter(headers.values()))
    samples = sorted({levels[0].overall.samples for levels in runs.values()})
    note = f"Rule {rule}, {' or '.join(map(str, samples))} answer(s) a question."
    number, of_paper = _paper(runs) if paper else (0, {})
    if paper and not set(header) & (known := next(iter(of_paper.values()))).keys():
        raise DataError(
            f"no column of the runs ({', '.join(header)}) is in the paper's Table {number} ({', '.join(known)}); "
            "leave --paper out"
        )
    others = _published_rows(published, header)
    if published and not others:
        raise DataError(
            f"no column of the runs ({', '.join(header)}) is in {'; '.join(table.title for table in published)}; leave "
            "--published out"
        )
    if paper:
        note += _paper_note(header, number)
    if others:
        note += " Rows with a source in brackets are published figures, made with protocols of their own."
    note += _questions_note({c: part.questions for c, part in next(iter(columns.values()))}, {**of_paper, **others})
    parts = tuple((name, tuple(part for _, part in found)) for name, found in columns.items())
    return AccuracyRows(header, parts, _in_columns(of_paper, header), _in_columns(others, header), note)


def same_questions(runs: Mapping[str, Sequence[LevelSummary]]) -> bool:
    """Whether a column of the runs is one of the paper's, and all of these have as many questions as there."""
    _, rows = _paper(runs)
    known = next(iter(rows.values()))
    sizes = {
        (column, part.questions)
        for levels in runs.values()
        for column, part in _columns(levels, _of_long_videos(runs))
        if column in known
    }
    return bool(sizes) and all(known[column].questions == count for column, count in sizes)


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


def benchmark_of(runs: Mapping[str, Sequence[LevelSummary]]) -> str:
    """Which published results have such columns."""
    return "LongVideoBench" if _of_long_videos(runs) else "SEED-Bench-R1"


def _paper(runs: Mapping[str, Sequence[LevelSummary]]) -> tuple[int, PublishedRows]:
    """The number of the table, and its rows."""
    return (3, table_3()) if _of_long_videos(runs) else (2, table_2())


def _published_rows(tables: Sequence[ResultTable], header: Sequence[str]) -> PublishedRows:
    return {
        f"{row.model}, {row.method} ({table.title})": row.figures
        for table in tables
        for row in table.rows
        if not row.figures.keys().isdisjoint(header)
    }


def _in_columns(rows: PublishedRows, header: Sequence[str]) -> tuple[tuple[str, tuple[Figure | None, ...]], ...]:
    return tuple((name, tuple(figures.get(column) for column in header)) for name, figures in rows.items())


def _paper_note(header: Sequence[str], number: int) -> str:
    note = (
        f" Rows marked paper: Table {number} of arXiv 2503.24376 (Qwen2-VL-7B) as printed; their Wilson intervals are "
        "ours, from the right answers that the printed figures imply."
    )
    if "L3 Hobbies" in header:
        note += " The printed base figure of L3 Hobbies, 32.30, should be 32.20 (95 of 295) to agree with L3 Overall."
    return note


def _questions_note(questions: Mapping[str, int], rows: PublishedRows) -> str:
    """How many questions are behind published rows when the runs have other numbers."""
    known = {c: f.questions for figures in rows.values() for c, f in figures.items() if f.questions is not None}
    other = [f"{c} {n} ({known[c]})" for c, n in questions.items() if c in known and known[c] != n]
    if not other:
        return ""
    return (
        f" NOT THE SAME QUESTIONS as the published; number here (there): {', '.join(other)}. The figures must not be "
        "compared."
    )
