"""Tables of evaluations, for the terminal (rich) and for files (markdown), from one and the same content.

Accuracies are in per cent with two decimals and 95 % intervals in brackets, columns in the order of the paper's Table 2
(arXiv 2503.24376): L1, L2, then the domains of L3 and L3 overall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from sbr.errors import DataError
from sbr.eval.compare import Comparison, SliceComparison
from sbr.eval.stats import Interval
from sbr.eval.summary import OVERALL, LevelSummary, Slice, Summary, write_atomically


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as text.  Example: TextTable("Accuracy", ("model", "L1"), (("base", "34.79 [32.92, 36.70]"),), "greedy").

    `note` stands below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def accuracy_table(runs: Mapping[str, Summary]) -> TextTable:
    """One row a run, one column a level and domain: the layout of the paper's Table 2.

    Raises DataError when the runs have different levels or domains.
    """
    headers = {name: tuple(column for column, _ in _columns(summary.levels)) for name, summary in runs.items()}
    if len(set(headers.values())) != 1:
        listed = "; ".join(f"{name}: {', '.join(header)}" for name, header in headers.items())
        raise DataError(f"the runs do not share one table, their levels and domains differ ({listed})")
    rows = [(name, *(accuracy_cell(part) for _, part in _columns(summary.levels))) for name, summary in runs.items()]
    return TextTable(
        "Accuracy in % [95 % interval]", ("model", *next(iter(headers.values()))), tuple(rows), _note(runs)
    )


def run_table(name: str, summary: Summary) -> TextTable:
    """One row a level and domain of one run, with the rates that show how healthy its answers are."""
    header = ("", "n", "accuracy", "format", "truncated", "echo", "tokens")
    several = summary.samples > 1
    rows: list[tuple[str, ...]] = []
    for column, part in _columns(summary.levels):
        rates = (part.format_rate, part.truncated_rate, part.echo_rate)
        row = (column, str(part.questions), accuracy_cell(part), *(f"{100 * rate:.1f}" for rate in rates))
        row += (f"{part.mean_completion_tokens:.1f}",)
        rows.append((*row, _percent(part.over_samples.sd or 0.0)) if several else row)
    note = (
        "n: questions. accuracy: % [95 % interval]. format, truncated, echo: % of the answers with the asked format, "
        "cut by the token limit, with no reasoning but a letter. tokens: mean length. "
    )
    if several:
        header += ("sd",)
        note += "sd: of the accuracy over samples, in points. "
    return TextTable(name, header, tuple(rows), note + _note({name: summary}))


def comparison_table(comparison: Comparison) -> TextTable:
    """Two runs on the same questions: accuracies, difference in percentage points with its interval, p-value."""
    header = ("", "n", comparison.base_name, comparison.other_name, "difference", "p")
    single = {part.level for part in comparison.slices} - {
        part.level for part in comparison.slices if part.base.name != OVERALL
    }
    rows = tuple(
        (
            part.level if part.level in single else f"{part.level} {part.base.name}",
            str(part.base.questions),
            accuracy_cell(part.base),
            accuracy_cell(part.other),
            difference_cell(part),
            p_cell(part.paired.p_value),
        )
        for part in comparison.slices
    )
    methods = sorted({part.paired.method for part in comparison.slices})
    note = (
        f"n: questions. Accuracies in % and differences in percentage points, each with its 95 % interval; "
        f"the difference is paired by question ({'; '.join(methods)}). Rule {comparison.rule}."
    )
    return TextTable(f"{comparison.other_name} against {comparison.base_name}", header, rows, note)


def rich_table(table: TextTable) -> Table:
    """For the terminal: intervals stand below their figure, so that the table fits into 80 columns if it can."""
    rendered = Table(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    rendered.caption, rendered.caption_justify, rendered.collapse_padding = Text(table.note), "left", True
    for index, name in enumerate(table.header):
        rendered.add_column(Text(name), justify="left" if index == 0 else "right", no_wrap=index == 0, overflow="fold")
    for row in table.rows:
        rendered.add_row(*(Text(cell.replace(" [", "\n[")) for cell in row))
    return rendered


def markdown_table(table: TextTable) -> str:
    """For a file; ends with a line feed."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join(["---", *["---:"] * (len(table.header) - 1)]) + "|"
    return "\n".join([f"### {table.title}", "", line(table.header), rule, *map(line, table.rows), "", table.note, ""])


def write_markdown(tables: Sequence[TextTable], file: Path) -> None:
    """Write the tables below each other, whole or not at all."""
    write_atomically(file, "\n".join(markdown_table(table) for table in tables))


def accuracy_cell(part: Slice) -> str:
    """
    >>> interval_cell(Interval(0.44038, 0.47997))
    '[44.04, 48.00]'
    """
    return f"{_percent(part.accuracy)} {interval_cell(part.interval)}"


def interval_cell(interval: Interval) -> str:
    return f"[{_percent(interval.low)}, {_percent(interval.high)}]"


def difference_cell(part: SliceComparison) -> str:
    """In percentage points, signed, e.g. "+11.23 [+8.51, +13.94]"."""
    paired = part.paired
    low, high = 100 * paired.interval.low, 100 * paired.interval.high
    return f"{100 * paired.difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def p_cell(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _columns(levels: Sequence[LevelSummary]) -> list[tuple[str, Slice]]:
    """(name, figures) in the order of Table 2; a level with one domain is one column."""
    columns: list[tuple[str, Slice]] = []
    for level in levels:
        if len(level.domains) == 1:
            columns.append((f"{level.level} {level.domains[0].name}", level.overall))
        else:
            columns += [(f"{level.level} {domain.name}", domain) for domain in level.domains]
            columns.append((f"{level.level} {OVERALL}", level.overall))
    return columns


def _note(runs: Mapping[str, Summary]) -> str:
    settings = {(s.rule, s.protocol, s.samples, s.max_new_tokens) for s in runs.values()}
    texts = [
        f"rule {rule}, protocol {protocol}, {samples} answer(s) a question, at most {tokens} new tokens"
        for rule, protocol, samples, tokens in sorted(settings)
    ]
    return f"Settings: {'; '.join(texts)}."


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
