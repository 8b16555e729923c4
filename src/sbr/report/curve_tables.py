"""Tables of training metrics: where every figure began and ended, and how far every run is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from sbr.analysis.curve_titles import Figure
from sbr.analysis.curves import figures_of, points_of
from sbr.analysis.training_metrics import TrainingMetrics
from sbr.report.tables import TextTable

ENDS = 10
"""Lines at either end that are averaged."""


def ends_tables(runs: Mapping[str, TrainingMetrics]) -> list[TextTable]:
    """A table for GRPO and one for SFT, where there are such runs: means over the first and the last `ENDS` values."""
    tables: list[TextTable] = []
    for kind in ("GRPO", "SFT"):
        of_kind = {name: run for name, run in runs.items() if run.kind == kind}
        rows: list[tuple[str, ...]] = []
        for figure in figures_of(kind, of_kind.values()):
            for number, (name, run) in enumerate(of_kind.items()):
                unit = f" ({figure.unit})" if figure.unit else ""
                rows.append((f"{figure.title}{unit}" if number == 0 else "", name, *_ends(run, figure)))
        if rows:
            note = (
                f"Means over the first and the last {ENDS} logged values, of fewer than {2 * ENDS} over each half; n: "
                "logged values. - : nothing was logged."
            )
            tables.append(TextTable(f"{kind}: begin and end", ("", "run", "n", "first", "last"), tuple(rows), note))
    return tables


def runs_table(runs: Mapping[str, TrainingMetrics]) -> TextTable:
    """How far each run is, and what its metrics.jsonl lacks."""
    rows = [
        (
            name,
            run.kind,
            str(run.steps[-1]),
            "yes" if run.finished else "no",
            str(run.missing),
            "yes" if run.torn else "no",
        )
        for name, run in runs.items()
    ]
    note = (
        "step: the last that is logged. missing: steps before it without a line. torn: a last line without its end was "
        "left out, as of a run that is writing or was killed."
    )
    return TextTable("Runs", ("", "kind", "step", "finished", "missing", "torn"), tuple(rows), note)


def _ends(run: TrainingMetrics, figure: Figure) -> tuple[str, str, str]:
    """(n, first, last) as text."""
    values = [value for _, value in points_of(run, figure) if value is not None]
    if not values:
        return "0", "-", "-"
    scale, count = 100 if figure.unit == "%" else 1, min(ENDS, max(1, len(values) // 2))
    first, last = (scale * fmean(part) for part in (values[:count], values[-count:]))
    return str(len(values)), number_cell(first), number_cell(last)


def number_cell(value: float) -> str:
    """Four figures, without an exponent where that is short.

    >>> number_cell(0.89843), number_cell(4.02e-07), number_cell(17.4453), number_cell(0)
    ('0.8984', '4.02e-07', '17.45', '0')
    """
    return f"{value:.4g}" if value == 0 or math.fabs(value) < 1e4 else f"{value:.3e}"
