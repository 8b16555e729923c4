"""Published results as tables of text, for the terminal, the report page and docs/published.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sbr.eval.stats import Interval
from sbr.report.published.check import disagreements, marked, wrong_totals
from sbr.report.published.rows import Benchmark, Published, ResultRow, ResultTable, View
from sbr.report.tables import TextTable, figure_cell, signed_interval

MARKS = (
    "† no whole number of right answers gives this figure: a misprint, rounded twice, other questions, or several "
    "answers a question.",
    "‡ contradicted by its parts, or by another table of the same source.",
)
_INTERVALS = "95 % intervals: Wilson, ours; they count questions only."

_OVERALL = " Overall"
_DAILY_LIFE = " Daily life"


def result_tables(published: Published, benchmark: str) -> list[TextTable]:
    """One table a view of the benchmark that has rows: model and method, figures, protocol, source."""
    about = published.benchmarks[benchmark]
    marks, letters = marked(published), protocol_letters(published)
    found: list[TextTable] = []
    for view in about.views:
        rows: list[tuple[str, ...]] = []
        for table, row in _by_model(published.of(benchmark), view):
            cells = [
                figure_cell(row.figures.get(column), marks.get(_key(table, row, column), "")) for column in view.columns
            ]
            rows.append((subject(row), *cells, letters[table.protocol], _source(table, row)))
        if rows:
            header = (
                "model, method",
                *(_heading(about, column, view) for column in view.columns),
                "protocol",
                "source",
            )
            title = f"{benchmark}: {view.title}" if view.title else benchmark
            found.append(TextTable(title, header, tuple(rows), _note(rows)))
    return found


def all_tables(published: Published) -> list[TextTable]:
    """Results of every benchmark, contradictions, protocols; those without rows are left out."""
    tables = [table for name in published.benchmarks for table in result_tables(published, name)]
    tables += [disagreement_table(published, within) for within in (False, True)]
    tables += [total_table(published), misfit_table(published), claim_table(published)]
    return [t for t in (*tables, protocol_table(published, list(published.benchmarks))) if t.rows]


def protocol_table(published: Published, benchmarks: Sequence[str]) -> TextTable:
    """One row a protocol, with the tables that have it."""
    letters = protocol_letters(published)
    rows: list[tuple[str, ...]] = []
    for protocol, letter in letters.items():
        of = [t for t in published.tables if t.protocol == protocol and t.benchmark in benchmarks]
        if of:
            titles = "; ".join(dict.fromkeys(table.title for table in of))
            checked = "; ".join(dict.fromkeys(table.checked for table in of))
            rows.append((letter, *protocol, titles, checked))
    header = ("protocol", "frames", "pixels", "temperature", "rule", "tables", "figures checked against")
    return TextTable("Protocols", header, tuple(rows), "")


def protocol_letters(published: Published) -> Mapping[tuple[str, str, str, str], str]:
    """A letter for every protocol, in the order of the files; after Z come Z1, Z2, ..."""
    protocols = dict.fromkeys(table.protocol for table in published.tables)
    return {p: chr(ord("A") + place) if place < 26 else f"Z{place - 25}" for place, p in enumerate(protocols)}


def total_table(published: Published) -> TextTable:
    """Totals that their printed parts do not make."""
    rows = [
        (
            f"{subject(wrong.row)}: {wrong.table.benchmark}, {_short(wrong.column)}",
            wrong.printed.text,
            "-" if math.isnan(wrong.weighted) else f"{wrong.weighted:.2f}",
            f"{wrong.plain:.2f}" + (" (what is printed)" if wrong.is_plain_mean else ""),
            wrong.table.title,
        )
        for wrong in wrong_totals(published)
    ]
    header = ("total", "printed", "from the parts, by questions", "plain mean of the parts", "source")
    return TextTable(
        "Totals that their parts do not make", header, tuple(rows), "Differences that rounding explains are left out."
    )


def misfit_table(published: Published) -> TextTable:
    """How many figures of each table are no share of a whole number of right answers."""
    rows: list[tuple[str, ...]] = []
    for table in published.tables:
        figures = [figure for row in table.rows for figure in row.figures.values() if figure.questions is not None]
        if misfits := sum(figure.misfit for figure in figures):
            rows.append((f"{table.title}: {table.benchmark}", str(misfits), str(len(figures))))
    return TextTable("Figures that are no share of the questions (†)", ("table", "figures", "of"), tuple(rows), "")


def disagreement_table(published: Published, within: bool) -> TextTable:
    """Two figures for one model, method and column, of one source (`within`) or of two."""
    rows = [
        (
            f"{two.model}, {two.method}: {_short(two.column)}",
            f"{two.one[1].text} ({_place(two.one[0], within)})",
            f"{two.other[1].text} ({_place(two.other[0], within)})",
            f"{two.difference:+.1f} {_signed(two.interval)}".strip(),
        )
        for two in disagreements(published, within)
    ]
    title = "Two tables of one source" if within else "Two sources on one model and method"
    note = (
        "Differences in points with 95 % intervals as if the two had been asked different questions; on the same "
        "questions the interval is narrower as a rule. No interval where a count is not known."
    )
    if not within:
        note += " What is not base was trained by each source itself."
    return TextTable(title, ("", "one", "other", "difference"), tuple(rows), note)


def claim_table(published: Published) -> TextTable:
    rows = tuple((claim.about, claim.figure, claim.found, claim.why) for claim in published.claims)
    return TextTable("In circulation, in none of the tables above", ("about", "figure", "told by", "why not"), rows, "")


def subject(row: ResultRow) -> str:
    return f"{row.model}, {row.method}"


def _by_model(tables: Sequence[ResultTable], view: View) -> list[tuple[ResultTable, ResultRow]]:
    """Rows with a column of the view, those of one model together, otherwise in the order of the files."""
    rows = [(t, row) for t in tables for row in t.rows if not row.figures.keys().isdisjoint(view.columns)]
    models = list(dict.fromkeys(row.model for _, row in rows))
    return sorted(rows, key=lambda pair: models.index(pair[1].model))


def _note(rows: Sequence[tuple[str, ...]]) -> str:
    text = "".join(cell for row in rows for cell in row)
    notes = [_INTERVALS] if "[" in text else []
    if ", sd " in text:
        notes.append("sd: standard deviation over runs, in points; the figure is their mean.")
    return " ".join([*notes, *(MARKS if "†" in text or "‡" in text else ())])


def _source(table: ResultTable, row: ResultRow) -> str:
    extra = [f"{figure.runs} runs" for figure in row.figures.values() if figure.runs > 1][:1]
    extra += [row.note] if row.note else []
    extra += [f"limits count {table.limits}"] if any(f.given is not None for f in row.figures.values()) else []
    extra += ["not checked"] if table.checked.startswith("not checked") else []
    return table.title + (f" ({'; '.join(extra)})" if extra else "")


def _heading(benchmark: Benchmark, column: str, view: View) -> str:
    count = benchmark.questions[column]
    name = _short(column) if view.title == "levels" or column.endswith(_OVERALL) else column
    return name if count is None else f"{name} ({count:,})"


def _short(column: str) -> str:
    """What a level is called where no domain is meant: "L1 Daily life" -> "L1", "L3 Overall" -> "L3"."""
    if column.endswith(_OVERALL):
        return column.removesuffix(_OVERALL)
    return column.removesuffix(_DAILY_LIFE) if column.startswith(("L1", "L2")) else column


def _place(table: ResultTable, within: bool) -> str:
    return table.place if within else table.title


def _signed(interval: Interval | None) -> str:
    return "" if interval is None else signed_interval(interval)


def _key(table: ResultTable, row: ResultRow, column: str) -> tuple[str, str, str, str, str]:
    return (table.benchmark, table.title, row.model, row.method, column)
