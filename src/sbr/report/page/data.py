"""What the report page is made of.  `report.page` writes these dataclasses as JSON; page/app.js reads the same names.

Fractions are 0 to 1 (the page multiplies by 100); a missing figure is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbr.analysis.curves import Curve as Curve
from sbr.analysis.curves import Line as Line
from sbr.analysis.flow import Flow as Flow


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share with its 95 % interval (None with too few observations).  Example: Fraction(0.883, 0.842, 0.915, 300)."""

    value: float
    low: float | None
    high: float | None
    n: int
    """Questions behind it."""


@dataclass(frozen=True, slots=True)
class RunCard:
    """One model that was asked."""

    name: str
    folder: str
    model: str
    protocol: str
    rule: str
    seed: int
    questions: int
    differences: tuple[tuple[str, str, str], ...]
    """(key, value in the first run, value here): keys of the recipes, of the training run too ("training:
    train.seed")."""
    training: str | None
    """In words: "GRPO, 150 steps, seed 0, 4.1 minutes"; None for a base model."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A line of the results table."""

    name: str
    paper: bool
    """Of the paper's Table 2 or 3."""
    cells: tuple[Fraction | None, ...]
    """One a column."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of two runs on one level, other minus base."""

    base: str
    other: str
    level: str
    value: float
    low: float | None
    high: float | None
    p: float | None
    """McNemar, exact, where there is one."""
    video_low: float | None
    """The interval with whole videos resampled."""
    video_high: float | None
    videos: int | None
    p_holm: float | None = None
    """`p` corrected by Holm over all comparisons that the findings were chosen from."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar (or dot) with its interval.  Example: Bar("GRPO", "L1", Fraction(0.883, 0.842, 0.915, 300))."""

    series: str
    group: str
    value: Fraction
    points: tuple[float, ...] = ()
    """What `value` is the mean of, such as the seeds; drawn as small dots."""


@dataclass(frozen=True, slots=True)
class Bars:
    """A picture of grouped values: controls, consistency, letters, shares of attention, effects."""

    title: str
    about: str
    unit: str
    """"%" (values are fractions) or any other unit, such as "nats"."""
    bars: tuple[Bar, ...]
    reference: float | None = None
    """A line to compare with, such as chance."""
    span: tuple[float, float] | None = None
    """What the axis goes over, for pictures that are to be compared; None: 0 and all values."""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table as text; first column left, the others right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the page below the first screen, left out when it has nothing to show."""

    id: str
    """"curves", "controls", "letters", "consistency", "attention", "noise", ..."""
    title: str
    intro: str
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bars, ...] = ()
    tables: tuple[PageTable, ...] = ()
    flows: tuple[Flow, ...] = ()


@dataclass(frozen=True, slots=True)
class PageEffect:
    """As `sbr.analysis.attention_records.Effect`, the random ones averaged."""

    span: str
    fraction: float
    tokens: int
    top: float
    random: float
    reasoning_top: float | None = None
    """Change of the log-probability of the whole reasoning; None when there is none."""
    reasoning_random: float | None = None


@dataclass(frozen=True, slots=True)
class PageAttention:
    """Attention of one answer, as the page draws it."""

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    """Character of the response at which each token begins."""
    raw: str
    """base64 of N x V bytes: round(255 * attention / scale), token by token."""
    scale: float
    """The largest value of all tokens."""
    general: str
    """base64 of V bytes, the map under a general prompt with `general_scale`; relative map = raw / general."""
    general_scale: float
    sinks: tuple[int, ...]
    shares: tuple[tuple[float, float, float, float], ...]
    """A token: video, image, text, own; mean over layers."""
    layers: tuple[int, ...]
    effects: tuple[PageEffect, ...]
    exact: bool
    """The response tokenised again has the generated number of tokens."""


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What one run said to one question."""

    response: str
    letter: str | None
    correct: bool
    tokens: int | None
    truncated: bool
    tags: tuple[str, ...]
    think: tuple[int, int] | None
    """First and past-the-last character of the reasoning in `response`."""
    answer: tuple[int, int] | None
    """The same of the answer."""
    consistency: str | None
    """In words: "the reasoning names D, the answer is B"."""
    attention: PageAttention | None


@dataclass(frozen=True, slots=True)
class PageFrames:
    """What the model saw: one picture that holds all frames side by side, the current observation last."""

    sprite: str
    """data: URI (WebP)."""
    width: int
    """Of one frame, pixels."""
    height: int
    video: int
    """Frames of the video; with `image` one more tile follows."""
    image: bool
    seconds: tuple[float, ...]
    """When each frame of the video was taken, from the clip's start."""
    video_grid: tuple[int, int, int] | None
    """Pairs of frames, rows, columns of visual tokens; a map belongs to a pair."""
    image_grid: tuple[int, int] | None
    columns: int = 0
    """Tiles in a row of the sprite, tile i in column i % columns and row i // columns; 0: all in one row."""


@dataclass(frozen=True, slots=True)
class PageCase:
    """One question."""

    id: str
    """"L1/115", unique; in deep links."""
    level: str
    domain: str
    scenario: str | None
    video: str | None
    goal: str | None
    question: str
    options: tuple[str, ...]
    gold: str
    progress: tuple[str, ...]
    """Narrated actions before the question (the model does not see them)."""
    flow: str
    """Right (1) and wrong (0) in the order of the runs."""
    interest: float
    frames: PageFrames | None
    answers: tuple[PageAnswer, ...]
    """In the order of `PageData.runs`."""


@dataclass(frozen=True, slots=True)
class PageData:
    """The whole page."""

    title: str
    made: str
    """Date, version of sbr, commit if it is known."""
    lead: str
    """What was run, in one or two sentences."""
    runs: tuple[RunCard, ...]
    levels: tuple[str, ...]
    columns: tuple[str, ...]
    results: tuple[ResultRow, ...]
    results_note: str
    differences: tuple[Difference, ...]
    findings: tuple[str, ...]
    """Each is supported by its interval."""
    limits: tuple[str, ...]
    sections: tuple[Section, ...]
    cases: tuple[PageCase, ...]
    cases_note: str
    """How many of how many questions, and how they were chosen."""
    tags: tuple[str, ...]
    """All tags that occur, for the filters."""
    findings_note: str = ""
    """How the findings were chosen: one line below them."""
    counted: str = "questions"
    """What the first interval of `differences` counts; "seeds and questions" of a study."""
