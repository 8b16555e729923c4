"""Tables of evaluations, for the terminal (rich) and for files (markdown), from one and the same content.

Accuracies are in per cent with two decimals and 95 % intervals in brackets, columns in the order of the paper's Table 2
(arXiv 2503.24376): L1, L2, then the domains of L3 and L3 overall.  LongVideoBench has those of Table 3: durations,
levels, overall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from sbr.eval.compare import Comparison, SliceComparison
from sbr.eval.stats import FEWEST, Interval
from sbr.eval.summary import OVERALL, Grouping, LevelSummary, Slice, Summary
from sbr.files import replace_output
from sbr.report.accuracy import accuracy_rows, level_columns
from sbr.report.published.rows import Figure, ResultTable

HEALTH = ("", "n", "accuracy", "format", "truncated", "echo", "tokens")
HEALTH_NOTE = (
    "n: questions. accuracy: % [95 % interval]. format, truncated, echo: % of the answers with the asked format, "
    "cut by the token limit, with no reasoning but a letter. tokens: mean length. "
)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as text.  Example: TextTable("Accuracy", ("model", "L1"), (("base", "34.79 [32.92, 36.70]"),), "greedy").

    `note` stands below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def accuracy_table(
    runs: Mapping[str, Sequence[LevelSummary]], rule: str, paper: bool = False, published: Sequence[ResultTable] = ()
) -> TextTable:
    """One row a run, one column a level and domain: the layout of the paper's Table 2 (LongVideoBench: of Table 3).

    With `paper`, the paper's rows stand below, marked as such, then those of `published`; a column that they lack has
    "-" there.  Raises DataError when the runs have different levels or domains, or no column of the published.
    """
    found = accuracy_rows(runs, rule, paper, published)
    rows = [(name, *map(accuracy_cell, parts)) for name, parts in found.runs]
    rows += [(f"paper: {name}", *map(figure_cell, cells)) for name, cells in found.paper]
    rows += [(name, *map(figure_cell, cells)) for name, cells in found.others]
    return TextTable("Accuracy in % [95 % interval]", ("model", *found.columns), tuple(rows), found.note)


def run_tables(name: str, summary: Summary) -> list[TextTable]:
    """One run: a row a level and domain, with the rates that show how healthy its answers are.

    Further tables have the scenarios and groups (duration, category ...), when the questions name them.
    """
    header, note = HEALTH, HEALTH_NOTE
    if summary.samples > 1:
        header += ("sd",)
        note += "sd: of the accuracy over samples, in points. "
    note += (
        f"Settings: rule {summary.rule}, protocol {summary.protocol}, {summary.samples} answer(s) a question, "
        f"at most {summary.max_new_tokens} new tokens"
        + {"none": ".", "blind": ", without video and image.", "no_video": ", without video."}[summary.control]
    )
    if summary.shuffle_options:
        note += " Every question was asked in every rotation of its options; accuracy is the mean."
    tables = [TextTable(name, header, tuple(_run_row(*column) for column in level_columns(summary.levels)), note)]
    groups: dict[str, list[tuple[str, ...]]] = {}
    for level in summary.levels:
        for grouping in (Grouping("scenario", level.scenarios), *level.groups):
            rows = [_run_row(f"{level.level} {part.name}", part) for part in grouping.parts]
            groups.setdefault(grouping.name, []).extend(rows)
    tables += [TextTable(f"{name}, by {key}", header, tuple(rows), "As above.") for key, rows in groups.items() if rows]
    return tables


def health_table(runs: Mapping[str, Sequence[LevelSummary]]) -> TextTable:
    """One row a run and level with the rates of `run_tables`."""
    rows = [_run_row(f"{name} {level.level}", level.overall) for name, levels in runs.items() for level in levels]
    return TextTable("Answers", HEALTH, tuple(row[: len(HEALTH)] for row in rows), HEALTH_NOTE.strip())


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """Two runs on the same questions: accuracies, difference in percentage points with its interval, p-value.

    Below each level and domain stands the interval with whole videos resampled.  Further tables have the scenarios and
    groups (duration, category ...), when the questions name several.
    """
    title = f"{comparison.other_name} against {comparison.base_name}"
    header = ("", "n", comparison.base_name, comparison.other_name, "difference", "p")
    single = {part.level for part in comparison.slices} - {
        part.level for part in comparison.slices if part.base.name != OVERALL
    }
    rows = [
        row
        for part in comparison.slices
        for row in _comparison_rows(part.level if part.level in single else f"{part.level} {part.base.name}", part)
    ]
    note = (
        f"n: questions. Accuracies in % and differences in percentage points, each with its 95 % interval; "
        f"the difference is {_paired_note([comparison])}. {_video_note(comparison)} "
        f"Rule {comparison.rule}."
    )
    tables = [TextTable(title, header, tuple(rows), note)]
    for name, parts in comparison.groups.items():
        rows = [row for part in parts for row in _comparison_rows(f"{part.level} {part.base.name}", part)]
        note = "As above. The p-values are not corrected for the number of rows."
        tables.append(TextTable(f"{title}, by {name}", header, tuple(rows), note))
    return tables


def difference_table(comparisons: Sequence[Comparison]) -> TextTable:
    """One row for each two runs, one column a level: the difference in percentage points with its interval and p."""
    levels = [part.level for part in comparisons[0].slices if part.base.name == OVERALL]
    rows = []
    for comparison in comparisons:
        overall = {part.level: part for part in comparison.slices if part.base.name == OVERALL}
        cells = [f"{difference_cell(overall[level])} p {p_cell(overall[level].paired.p_value)}" for level in levels]
        rows.append((f"{comparison.other_name} against {comparison.base_name}", *cells))
    note = (
        f"In percentage points [95 % interval], {_paired_note(comparisons)}; compare two runs by "
        "themselves for domains and for intervals by video. The p-values are not corrected for the number of pairs."
    )
    return TextTable("Differences", ("", *levels), tuple(rows), note)


def rich_table(table: TextTable, wrap: bool = False) -> Table:
    """For the terminal: intervals stand below their figure, so that the table fits into 80 columns if it can.

    With `wrap` cells are broken between words, those of the first column too.
    """
    rendered = Table(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    rendered.caption, rendered.caption_justify, rendered.collapse_padding = Text(table.note), "left", True
    for index, name in enumerate(table.header):
        rendered.add_column(
            Text(name), justify="left" if index == 0 else "right", no_wrap=index == 0 and not wrap, overflow="fold"
        )
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
    """Write the tables below each other, whole or not at all.  Raises ConfigError for a file that holds no tables."""
    replace_output(file, "\n".join(markdown_table(table) for table in tables).encode(), b"### ")


def accuracy_cell(part: Slice) -> str:
    """
    >>> interval_cell(Interval(0.44038, 0.47997))
    '[44.04, 48.00]'
    """
    return f"{percent(part.accuracy)} {interval_cell(part.interval)}"


def figure_cell(figure: Figure | None, mark: str = "") -> str:
    """
    >>> figure_cell(Figure(46.01, 2, 2432)), figure_cell(Figure(50.0, 1, 183), "†"), figure_cell(None)
    ('46.01 [44.04, 48.00]', '50.0†', '-')
    """
    if figure is None:
        return "-"
    text = figure.text + mark
    if figure.sd is not None:
        text += f", sd {figure.sd:.{figure.decimals}f}"
    if (limits := figure.interval) is None:
        return text
    digits = max(1, figure.decimals)
    return f"{text} [{100 * limits.low:.{digits}f}, {100 * limits.high:.{digits}f}]"


def interval_cell(interval: Interval) -> str:
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def difference_cell(part: SliceComparison) -> str:
    """In percentage points, signed, e.g. "+11.23 [+8.51, +13.94]", or with few questions "+11.23 (too few)"."""
    interval = part.paired.interval
    return f"{100 * part.paired.difference:+.2f} {'(too few)' if interval is None else signed_interval(interval)}"


def p_cell(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _run_row(name: str, part: Slice) -> tuple[str, ...]:
    rates = (part.format_rate, part.truncated_rate, part.echo_rate)
    row = (name, str(part.questions), accuracy_cell(part), *(f"{100 * rate:.1f}" for rate in rates))
    row += ("-" if part.mean_completion_tokens is None else f"{part.mean_completion_tokens:.1f}",)
    return row if part.over_samples.sd is None else (*row, percent(part.over_samples.sd))


def _comparison_rows(name: str, part: SliceComparison) -> Iterator[tuple[str, ...]]:
    figures = (accuracy_cell(part.base), accuracy_cell(part.other), difference_cell(part))
    yield (name, str(part.base.questions), *figures, p_cell(part.paired.p_value))
    if (by_video := part.by_video) is not None:
        yield (
            f"by {by_video.clusters} videos",
            "",
            "",
            "",
            signed_interval(by_video.interval),
            p_cell(by_video.p_value),
        )
    elif part.videos is not None:
        yield (f"by {part.videos} video{'s' if part.videos > 1 else ''}", "", "", "", "too few", "")


def _video_note(comparison: Comparison) -> str:
    notes: list[str] = []
    if resampled := next((part.by_video for part in comparison.slices if part.by_video is not None), None):
        notes.append(
            f"By videos: the same difference, whole videos drawn with replacement {resampled.resamples:,} times "
            f"(seed {resampled.seed}), since questions of one video are not independent."
        )
    if any(part.videos is not None and part.by_video is None for part in comparison.slices):
        notes.append(f"Too few: an interval by videos needs {FEWEST} of them.")
    if any(part.videos is None and part.by_video is None for part in comparison.slices):
        notes.append("Where the line of the videos lacks, not every record names its video.")
    return " ".join(notes)


def _paired_note(comparisons: Iterable[Comparison]) -> str:
    parts = [part for comparison in comparisons for part in comparison.slices]
    note = f"paired by question ({'; '.join(sorted({part.paired.method for part in parts}))})"
    if any(part.paired.interval is None for part in parts):
        note += f", from {FEWEST} questions on (too few: no interval)"
    return note


def signed_interval(interval: Interval) -> str:
    return f"[{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
