"""TOML -> `Published`: every problem of a file at once, each with its table, row and field.

The form is described in docs/published.md, "Add a row".
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from sbr.errors import DataError
from sbr.eval.stats import Interval
from sbr.files import read_file
from sbr.report.published.fields import TomlFields
from sbr.report.published.rows import (
    NOT_STATED,
    Benchmark,
    Claim,
    Figure,
    Published,
    ResultRow,
    ResultTable,
    Total,
    View,
)

LARGEST = 2**20
"""Bytes of a file."""
MOST_DECIMALS = 6
"""Of a figure; more are not read."""
SHOWN = 20
"""Problems that are told; more are counted."""

_ADVICE = "correct the file; its form is described in docs/published.md"
_TEXTS = ("frames", "pixels", "temperature", "rule")


@cache
def packaged() -> Published:
    """What ships with the package: published.toml, results of papers, and own.toml, results of this project."""
    folder = files("sbr.report.published")
    found = Published()
    for name in ("published.toml", "own.toml"):
        found = parse((folder / name).read_text(encoding="utf-8"), name, found)
    return found


def read_published(file: Path, known: Published) -> Published:
    """`known`, then what `file` adds.  Raises DataError with every problem of the file, or when it has no table."""
    data = read_file(file, LARGEST, "name a TOML file of published results; docs/published.md describes it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}); {_ADVICE}") from None
    found = parse(text, str(file), known)
    if len(found.tables) == len(known.tables):
        raise DataError(f"{file} holds no result: write them under [[table]]; {_ADVICE}")
    return found


def parse(text: str, name: str, known: Published) -> Published:
    """`known` and what `text` adds; its tables may be about benchmarks of `known`.

    `name` is that of the file in problems.  Raises DataError.
    """
    try:
        values = tomllib.loads(text, parse_float=Decimal)  # 46.10 has two decimals
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise DataError(f"{name}: not valid TOML: {error}; {_ADVICE}") from None
    except RecursionError:
        raise DataError(f"{name}: not valid TOML: lists or tables are too deep in each other; {_ADVICE}") from None
    problems: list[str] = []
    top = TomlFields(values, "", problems)
    top.only("benchmark", "table", "claim")
    benchmarks = dict(known.benchmarks)
    for fields in top.each("benchmark"):
        benchmark = _benchmark(fields)
        if benchmark.name in benchmarks:
            fields.problem("name", f"no benchmark that there is already ({', '.join(benchmarks)})")
        benchmarks[benchmark.name] = benchmark
    tables = list(known.tables)
    for fields in top.each("table"):
        if (table := _table(fields, benchmarks)) is not None:
            _refuse_twice(fields, table, tables)
            tables.append(table)
    claims = (*known.claims, *map(_claim, top.each("claim")))
    if problems:
        told = problems[:SHOWN] + ([f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(f"{count} in {name}:\n  " + "\n  ".join(told) + f"\n{_ADVICE}")
    return Published(MappingProxyType(benchmarks), tuple(tables), claims)


def _benchmark(fields: TomlFields) -> Benchmark:
    fields.only("name", "about", "questions", "totals", "views")
    questions = fields.values.get("questions")
    if not isinstance(questions, dict) or not questions or not all(map(_is_size, questions.values())):
        fields.problem("questions", "columns, each with its number of questions, or 0 for a mean over columns")
        questions = {}
    totals = [
        Total(total, tuple(parts))
        for total, *parts in fields.lists("totals", 3, "lists of columns: a total, then the columns that make it up")
    ]
    views = [
        View(title, tuple(columns)) for title, *columns in fields.lists("views", 2, "lists of a title, then of columns")
    ]
    named = {name for total in totals for name in (total.column, *total.parts)}
    if strange := (named | {name for view in views for name in view.columns}) - questions.keys():
        fields.note(f"totals and views name {sorted(strange)}, which questions lacks")
        totals, views = [], []
    sizes = {column: count or None for column, count in questions.items()}
    for total in totals:
        parts, whole = [sizes[part] for part in total.parts], sizes[total.column]
        if whole is not None and sum(part or 0 for part in parts) != whole:
            fields.note(f"the questions of {total.column} are {whole}, those of its parts {parts}")
    return Benchmark(
        fields.text("name"),
        MappingProxyType(sizes),
        tuple(totals),
        fields.text("about"),
        tuple(views or [View("", tuple(questions))]),
    )


def _table(fields: TomlFields, benchmarks: Mapping[str, Benchmark]) -> ResultTable | None:
    fields.only(
        *_TEXTS, *("benchmark", "source", "place", "checked", "command", "limits", "columns", "decimals"), "rows"
    )
    name = fields.text("benchmark")
    if name and name not in benchmarks:
        fields.problem("benchmark", f"one of {', '.join(benchmarks)}; or describe it under [[benchmark]]")
    columns = fields.texts("columns")
    if name not in benchmarks:
        return None
    benchmark = benchmarks[name]
    if strange := [column for column in columns if column not in benchmark.questions]:
        fields.note(f"columns are {strange}, expected some of {', '.join(benchmark.questions)}")
        return None
    if len(set(columns)) != len(columns):
        fields.problem("columns", "every column once")
    decimals = fields.values.get("decimals", {})
    if not isinstance(decimals, dict) or not all(type(n) is int and 0 <= n <= 6 for n in decimals.values()):
        fields.problem("decimals", "columns of which fewer decimals mean something than are printed, with their number")
        decimals = {}
    limits = fields.text("limits", "")
    rows = [_row(row, columns, benchmark, decimals, limits) for row in fields.each("rows")]
    if not rows:
        fields.problem("rows", "at least one row")
    return ResultTable(
        benchmark=name,
        source=fields.text("source"),
        place=fields.text("place"),
        checked=fields.text("checked"),
        rows=tuple(row for row in rows if row is not None),
        **{key: fields.text(key, NOT_STATED) for key in _TEXTS},
        command=fields.text("command", ""),
        limits=limits,
    )


def _row(
    fields: TomlFields, columns: Sequence[str], benchmark: Benchmark, decimals: Mapping[str, int], limits: str
) -> ResultRow | None:
    fields.only("model", "method", "percent", "runs", "sd", "low", "high", "note")
    model, method, note = fields.text("model"), fields.text("method"), fields.text("note", "")
    runs = fields.whole("runs", 1)
    spread = {key: fields.percents(key, len(columns)) for key in ("sd", "low", "high") if key in fields.values}
    if ("low" in spread) != ("high" in spread):
        fields.note("low and high belong together: give both or none")
    if "low" in spread and not limits:
        fields.note("low and high need `limits` in their table: what they count, such as 'seeds and questions'")
    if "sd" in spread and runs == 1:
        fields.note("sd is that over `runs`, which is 1")
    percents = fields.percents("percent", len(columns))
    lows, highs = spread.get("low", []), spread.get("high", [])
    if not percents:
        return None
    figures: dict[str, Figure] = {}
    for place, (column, percent) in enumerate(zip(columns, percents, strict=True)):
        given = None
        if lows and highs:
            if not lows[place] <= percent <= highs[place]:
                fields.note(f"{column}: {percent} is not within its limits {lows[place]} and {highs[place]}")
            given = Interval(float(lows[place]) / 100, float(highs[place]) / 100)
        printed = -int(percent.as_tuple().exponent)
        figures[column] = Figure(
            float(percent),
            max(0, min(printed, decimals.get(column, MOST_DECIMALS))),
            benchmark.questions[column],
            runs,
            float(spread["sd"][place]) if spread.get("sd") else None,
            given,
        )
    return ResultRow(model, method, MappingProxyType(figures), note)


def _claim(fields: TomlFields) -> Claim:
    fields.only("figure", "about", "found", "why")
    return Claim(*(fields.text(key) for key in ("figure", "about", "found", "why")))


def _refuse_twice(fields: TomlFields, table: ResultTable, tables: Sequence[ResultTable]) -> None:
    """A row stands once: by benchmark, source, place, model and method."""
    same = [t for t in tables if (t.benchmark, t.source, t.place) == (table.benchmark, table.source, table.place)]
    seen = {(row.model, row.method) for one in same for row in one.rows}
    for row in table.rows:
        if (row.model, row.method) in seen:
            fields.note(f"{row.model}, {row.method} stands twice under {table.title}")
        seen.add((row.model, row.method))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 10**9
