"""The paper's own results, to stand beside ours: Tables 2 and 3 of arXiv 2503.24376, from published/published.toml.

The paper prints percentages only.  For every cell of Table 2 but one there is a count of right answers that rounds to
the printed percentage, so Wilson intervals can be given; the counts of the domains of L3 add up to those of L3 Overall.
The one cell (base, L3 Hobbies) must be a misprint: 32.30 for 32.20 = 95 of 295.

Table 3 (LongVideoBench) prints no sizes either.  The validation set has 1,337 questions (arXiv 2407.15754); only one
way to split them over durations, and only one over levels, reproduces the printed percentages with sums that agree
with Overall, which is printed to one decimal.
"""

from __future__ import annotations

from collections.abc import Mapping

from sbr.report.published.read import packaged
from sbr.report.published.rows import Figure

SOURCE = "arXiv 2503.24376"


def table_2() -> Mapping[str, Mapping[str, Figure]]:
    """{"base": {"L1 Daily life": Figure(34.79, 2, 2432), ...}, "SFT": ..., "GRPO": ...}, columns as printed."""
    return _table("SEED-Bench-R1", "Table 2")


def table_3() -> Mapping[str, Mapping[str, Figure]]:
    """{"base": {"(8,15]": Figure(42.33, 2, 189), ..., "Overall": ...}, "SFT": ..., "GRPO": ...}, as printed."""
    return _table("LongVideoBench", "Table 3")


def _table(benchmark: str, place: str) -> Mapping[str, Mapping[str, Figure]]:
    (table,) = [t for t in packaged().of(benchmark) if (t.source, t.place) == (SOURCE, place)]
    return {row.method: row.figures for row in table.rows}
