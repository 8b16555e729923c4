"""Results that were published, as printed: what a file of them holds.

A `ResultTable` is (a part of) one table of one source with its protocol; its rows are models and methods.  The sources
print percentages.  Where the number of questions is known and exactly rounded shares exist, the count of right answers
follows, and from it a Wilson interval.  That interval is ours, not the source's, and counts questions only: neither
seeds nor the random draw of answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sbr.eval.stats import Interval, wilson_interval

NOT_STATED = "not stated"
"""The protocol where a source does not say."""

_SLACK = 1e-9
"""Percentage points: figures are decimal, arithmetic is binary."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One accuracy.  Example: Figure(46.01, 2, 2432), which is 1119 right answers."""

    percent: float
    """As printed, 0 to 100."""
    decimals: int
    """Printed decimals that mean something."""
    questions: int | None
    """None: the source's number of questions is not known, or the figure is a mean over levels."""
    runs: int = 1
    """Trainings or evaluations of which this is the mean."""
    sd: float | None = None
    """Standard deviation over `runs`, in points."""
    given: Interval | None = None
    """95 % limits that the source gives, fractions."""

    @property
    def text(self) -> str:
        """
        >>> Figure(32.9, 2, 1337).text
        '32.90'
        """
        return f"{self.percent:.{self.decimals}f}"

    @property
    def half(self) -> float:
        """What rounding may have changed, in points."""
        return 0.5 * 10**-self.decimals

    @property
    def correct(self) -> int | None:
        """Right answers that the printed figure implies, the nearest where several round to it; None: no number does.

        >>> Figure(46.01, 2, 2432).correct, Figure(32.30, 2, 295).correct
        (1119, None)
        """
        if self.questions is None or self.runs > 1:
            return None
        nearest = round(self.percent * self.questions / 100)
        off = abs(100 * nearest / self.questions - self.percent)
        return nearest if off <= self.half + _SLACK else None

    @property
    def interval(self) -> Interval | None:
        """95 %: what the source gives, otherwise Wilson's from the count; None without a count."""
        if self.given is not None or (correct := self.correct) is None or self.questions is None:
            return self.given
        return wilson_interval(correct, self.questions)

    @property
    def misfit(self) -> bool:
        """Whether no whole number of right answers gives the printed figure, though it should be a share."""
        return self.questions is not None and self.runs == 1 and self.correct is None

    def agrees(self, other: Figure) -> bool:
        """Whether both may be roundings of one value.

        >>> Figure(38.15, 2, None).agrees(Figure(38.2, 1, None))
        True
        """
        return math.fabs(self.percent - other.percent) <= self.half + other.half + _SLACK


@dataclass(frozen=True, slots=True)
class Total:
    """A column that other columns make up.  Example: Total("L3 Overall", ("L3 Daily life", "L3 Hobbies", ...))."""

    column: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """Columns that are shown in one table.  Example: View("levels", ("L1 Daily life", ..., "L3 Overall"))."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Example: "SEED-Bench-R1" with the questions of its levels and domains."""

    name: str
    questions: Mapping[str, int | None]
    """Columns in their order; None for a mean over columns."""
    totals: tuple[Total, ...]
    about: str
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A model after a method.  Example: "Qwen2-VL-7B", "GRPO", {"L1 Daily life": Figure(46.01, 2, 2432), ...}."""

    model: str
    method: str
    figures: Mapping[str, Figure]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table of a source, or the part of it that is about one benchmark."""

    benchmark: str
    source: str
    """ "arXiv 2503.24376", or whose results they are."""
    place: str
    """ "Table 2"; of own results where they are described."""
    checked: str
    """Against what the figures were checked: "the paper's text", or "not checked: as reported in ..."."""
    rows: tuple[ResultRow, ...]
    frames: str = NOT_STATED
    pixels: str = NOT_STATED
    temperature: str = NOT_STATED
    rule: str = NOT_STATED
    command: str = ""
    """What made the figures, where that can be run."""
    limits: str = ""
    """What given limits count: "seeds and questions"."""

    @property
    def protocol(self) -> tuple[str, str, str, str]:
        return (self.frames, self.pixels, self.temperature, self.rule)

    @property
    def title(self) -> str:
        return f"{self.source}, {self.place}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure in circulation that no source bears out.  It is in no table of results."""

    figure: str
    about: str
    found: str
    """Where it is told."""
    why: str
    """Why it is not believed."""


@dataclass(frozen=True, slots=True)
class Published:
    """All of one or several files."""

    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)
    tables: tuple[ResultTable, ...] = ()
    claims: tuple[Claim, ...] = ()

    def of(self, benchmark: str) -> tuple[ResultTable, ...]:
        return tuple(table for table in self.tables if table.benchmark == benchmark)
