"""The paper's own results, to stand beside ours: Tables 2 and 3 of arXiv 2503.24376.

`paper_tables.json` in this folder holds tables 1 to 3 as printed, later results of other papers on the same benchmark,
and where each number comes from.  The paper prints percentages only.  For every cell of Table 2 there is one count of
right answers that rounds to the printed percentage, so Wilson intervals can be given; the counts of the domains of L3
add up to those of L3 Overall.  One printed cell (base, L3 Hobbies) must be a misprint: 32.30 for 32.20 = 95 of 295.

Table 3 (LongVideoBench) prints no sizes either.  The validation set has 1,337 questions (arXiv 2407.15754); only one
way to split them over durations, and only one over levels, reproduces the printed percentages with sums that agree
with Overall, which is printed to one decimal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from sbr.eval.stats import Interval, wilson_interval

_NAMES = {"base": "base", "sft": "SFT", "grpo": "GRPO"}

TABLE_3_SIZES: Mapping[str, int] = MappingProxyType(
    {
        **{"(8,15]": 189, "(15,60]": 172, "(180,600]": 412, "(900,3600]": 564},
        **{"L1 (Perception)": 625, "L2 (Relation)": 712, "Overall": 1337},
    }
)
"""Questions of every column of Table 3, as its percentages imply."""


@dataclass(frozen=True, slots=True)
class PaperCell:
    """One accuracy of the paper.  Example: PaperCell(percent=46.01, correct=1119, questions=2432)."""

    percent: float
    """As printed."""
    correct: int
    """Right answers that the printed percentage implies."""
    questions: int

    @property
    def interval(self) -> Interval:
        """95 %, Wilson."""
        return wilson_interval(self.correct, self.questions)


@cache
def paper_tables() -> dict[str, Any]:
    """The content of paper_tables.json."""
    return json.loads((files("sbr.report") / "paper_tables.json").read_text(encoding="utf-8"))


def table_2() -> dict[str, dict[str, PaperCell]]:
    """{"base": {"L1 Daily life": PaperCell(34.79, 846, 2432), ...}, "SFT": ..., "GRPO": ...}, columns as printed."""
    tables = paper_tables()
    printed, levels = tables["table2_accuracy_percent"], tables["table2_correct_counts"]
    sizes = {column.replace("/", " "): levels[column.split("/")[0]]["n"] for column in printed["columns"]}
    sizes |= {f"L3 {domain}": n for domain, n in tables["table2_L3_domain_sizes"].items()}
    return _cells(printed, sizes)


def table_3() -> dict[str, dict[str, PaperCell]]:
    """{"base": {"(8,15]": PaperCell(42.33, 80, 189), ..., "Overall": ...}, "SFT": ..., "GRPO": ...}, as printed."""
    return _cells(paper_tables()["table3_longvideobench_percent"], TABLE_3_SIZES)


def _cells(printed: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, dict[str, PaperCell]]:
    columns = [column.replace("/", " ") for column in printed["columns"]]
    return {
        name: {
            column: PaperCell(percent, round(percent * sizes[column] / 100), sizes[column])
            for column, percent in zip(columns, printed[key], strict=True)
        }
        for key, name in _NAMES.items()
    }
