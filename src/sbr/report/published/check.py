"""What contradicts what among published figures, by computation alone.

Within a row: a total that its parts do not make.  Within a source: two tables with different figures of one model and
method.  Between sources: the same, with the difference and its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from sbr.eval.stats import Interval, difference_interval
from sbr.report.published.rows import Benchmark, Figure, Published, ResultRow, ResultTable, Total


@dataclass(frozen=True, slots=True)
class WrongTotal:
    """A printed total that does not follow from the printed parts."""

    table: ResultTable
    row: ResultRow
    column: str
    printed: Figure
    weighted: float
    """The parts by their questions, in per cent; NaN where they have no known number."""
    plain: float
    """The mean of the parts, each counted once."""
    slack: float
    """What rounding explains, in points."""

    @property
    def is_plain_mean(self) -> bool:
        return abs(self.plain - self.printed.percent) <= self.slack


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two figures of one model, method and column."""

    model: str
    method: str
    column: str
    one: tuple[ResultTable, Figure]
    other: tuple[ResultTable, Figure]

    @property
    def difference(self) -> float:
        """Other minus one, in points."""
        return self.other[1].percent - self.one[1].percent

    @property
    def interval(self) -> Interval | None:
        """95 %, fractions, as if other questions had been asked; None where a count is not known."""
        (_, one), (_, other) = self.one, self.other
        if one.correct is None or other.correct is None or not one.questions or not other.questions:
            return None
        return difference_interval(other.correct, other.questions, one.correct, one.questions)


def wrong_totals(published: Published) -> list[WrongTotal]:
    """Totals that are not the mean of their parts by questions.  A total without a number of questions of its own may
    also be the plain mean."""
    found: list[WrongTotal] = []
    for table in published.tables:
        benchmark = published.benchmarks[table.benchmark]
        for row in table.rows:
            found += [wrong for total in benchmark.totals if (wrong := _wrong(table, row, total, benchmark))]
    return found


def _wrong(table: ResultTable, row: ResultRow, total: Total, benchmark: Benchmark) -> WrongTotal | None:
    figures = row.figures
    if total.column not in figures or not all(part in figures for part in total.parts):
        return None
    printed, parts = figures[total.column], [figures[part] for part in total.parts]
    sizes = [benchmark.questions[part] for part in total.parts]
    plain = sum(part.percent for part in parts) / len(parts)
    weighted = float("nan")
    if all(sizes):
        weighted = sum(part.percent * (size or 0) for part, size in zip(parts, sizes, strict=True)) / sum(
            size or 0 for size in sizes
        )
    slack = printed.half + max(part.half for part in parts) + 1e-9
    allowed = [weighted] if printed.questions is not None else [weighted, plain]
    if any(abs(value - printed.percent) <= slack for value in allowed):
        return None
    return WrongTotal(table, row, total.column, printed, weighted, plain, slack)


def disagreements(published: Published, within: bool) -> list[Disagreement]:
    """Figures of one model, method and column that differ by more than rounding; `within` one source, or between two.

    Between sources every pair of different figures is told once, with the first table of each source that has it.
    """
    found: list[Disagreement] = []
    for (_, model, method, column), figures in _by_subject(published).items():
        told: set[tuple[str, float, str, float]] = set()
        for one, other in combinations(figures, 2):
            key = (one[0].source, one[1].percent, other[0].source, other[1].percent)
            if (one[0].source == other[0].source) == within and not one[1].agrees(other[1]) and key not in told:
                told.add(key)
                found.append(Disagreement(model, method, column, one, other))
    return found


def marked(published: Published) -> Mapping[tuple[str, str, str, str, str], str]:
    """(benchmark, title of the table, model, method, column) -> the marks of its figure in the tables.

    † no whole number of right answers gives it; ‡ its parts, or another table of the same source, give another figure.
    """
    marks: dict[tuple[str, str, str, str, str], str] = {}
    for table, row, column, figure in _figures(published):
        if figure.misfit:
            marks[table.benchmark, table.title, row.model, row.method, column] = "†"
    other = [(wrong.table, wrong.row.model, wrong.row.method, wrong.column) for wrong in wrong_totals(published)]
    for two in disagreements(published, within=True):
        other += [(table, two.model, two.method, two.column) for table, _ in (two.one, two.other)]
    for table, model, method, column in other:
        key = (table.benchmark, table.title, model, method, column)
        if "‡" not in marks.get(key, ""):
            marks[key] = marks.get(key, "") + "‡"
    return marks


def _figures(published: Published) -> Iterator[tuple[ResultTable, ResultRow, str, Figure]]:
    for table in published.tables:
        for row in table.rows:
            for column, figure in row.figures.items():
                yield table, row, column, figure


def _by_subject(published: Published) -> dict[tuple[str, str, str, str], list[tuple[ResultTable, Figure]]]:
    """(benchmark, model, method, column) -> every figure of it."""
    found: dict[tuple[str, str, str, str], list[tuple[ResultTable, Figure]]] = {}
    for table, row, column, figure in _figures(published):
        found.setdefault((table.benchmark, row.model, row.method, column), []).append((table, figure))
    return found
