"""ConsistencyRecords -> how often the reasoning entails the answer, by each way of telling, and what depends on it.

Pure functions.  What each figure means and what it cannot tell: docs/analysis.md, section "Consistency".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from sbr.analysis.consistency_records import ConsistencyRecord, consistency_key
from sbr.analysis.verdicts import CHANGES, WAYS, Change, Way, changed, most_likely, verdict
from sbr.errors import DataError
from sbr.eval.agreement import Kappa, cohen_kappa
from sbr.eval.stats import (
    FEWEST,
    ClusteredDifference,
    Interval,
    PairedDifference,
    clustered_difference,
    clustered_wilson_interval,
    paired_difference,
)
from sbr.types import LETTERS

ALL_LEVELS = "all levels"


@dataclass(frozen=True, slots=True)
class Share:
    """A share of answers.  Example: Share(0.62, Interval(0.52, 0.71), answers=100)."""

    value: float
    interval: Interval
    """95 %: Wilson, of several answers a question with the effective sample size."""
    answers: int
    """The answers it is a share of."""


@dataclass(frozen=True, slots=True)
class WaySummary:
    """What one way says about the answers of a level."""

    way: Way
    consistent: Share
    inconsistent: Share
    """With `consistent`, `untold` and the answers without a letter it adds up to 1."""
    untold: float
    """Share of the answers of which the way says neither, or that it cannot read."""
    reasons: tuple[tuple[str, int], ...]
    """Why that, and how often."""
    right_if_consistent: Share | None
    """Accuracy of the consistent answers; None when there are none."""
    right_if_inconsistent: Share | None


@dataclass(frozen=True, slots=True)
class Dependence:
    """What becomes of the most likely letter when the reasoning is changed."""

    answers: int
    """Those with likelihoods."""
    changed: tuple[tuple[Change, Share | None], ...]
    """Share of the answers whose most likely letter is another one after that change; None without any."""
    probability: tuple[tuple[Literal["own"] | Change, float | None], ...]
    """Mean probability of the given answer after own, cut, empty and other reasoning."""
    own_is_answer: float
    """Share in which the most likely letter after the model's own reasoning is the answer that it gave."""
    letters_hold: float
    """Mean share of the whole probability that the letters on offer hold, after the model's own reasoning."""
    same_video: int
    """Answers whose other reasoning is about the same video, which could not be avoided."""
    names_answer: int
    """Answers whose other reasoning names the option that they chose."""


@dataclass(frozen=True, slots=True)
class LevelConsistency:
    level: str
    answers: int
    questions: int
    no_answer: int
    """Answers without a letter: no way can tell, and they are not consistent."""
    ways: tuple[WaySummary, ...]
    """Those that were gone."""
    dependence: Dependence | None
    """None when no answer has likelihoods."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two ways, on the answers that both could read: is the answer called consistent, or not (no, or neither)?"""

    level: str
    """Or `ALL_LEVELS`."""
    one: Way
    other: Way
    kappa: Kappa


@dataclass(frozen=True, slots=True)
class RunConsistency:
    levels: tuple[LevelConsistency, ...]
    """In the order of the records."""
    agreements: tuple[Agreement, ...]
    """Of each two ways that were gone, level by level and over all."""


@dataclass(frozen=True, slots=True)
class ConsistencyDifference:
    """Of two runs on the same answers of a level, other minus base."""

    level: str
    figure: Way | Change
    """A way: share of consistent answers.  A change: share of answers whose most likely letter changed."""
    paired: PairedDifference
    by_video: ClusteredDifference | None
    """With whole videos resampled; None when a video is not known or there are fewer than `stats.FEWEST`."""
    questions: int


def summarize_consistency(records: Sequence[ConsistencyRecord]) -> RunConsistency:
    """Figures of one run.  Raises DataError when there are no records."""
    if not records:
        raise DataError("no records of consistency: nothing was analysed")
    by_level: dict[str, list[ConsistencyRecord]] = {}
    for record in records:
        by_level.setdefault(record.level, []).append(record)
    parts = {**by_level, ALL_LEVELS: list(records)} if len(by_level) > 1 else by_level
    return RunConsistency(
        levels=tuple(_level(level, of_level) for level, of_level in by_level.items()),
        agreements=tuple(
            _agreement(level, part, one, other)
            for level, part in parts.items()
            for one, other in combinations(_gone(part), 2)
        ),
    )


def compare_consistency(
    base: Sequence[ConsistencyRecord], other: Sequence[ConsistencyRecord]
) -> tuple[ConsistencyDifference, ...]:
    """Paired differences of every figure that both runs have, level by level, on the answers that both hold.

    Raises DataError when they have none in common.
    """
    others = {consistency_key(record): record for record in other}
    pairs = [(record, others[key]) for record in base if (key := consistency_key(record)) in others]
    if not pairs:
        raise DataError("the two runs have no analysed question in common; analyse both with the same --per-level")
    found: list[ConsistencyDifference] = []
    for level in dict.fromkeys(record.level for record, _ in pairs):
        of_level = [pair for pair in pairs if pair[0].level == level]
        for figure in (*WAYS, *CHANGES):
            values = [(*map(_indicator(figure), pair), pair[0]) for pair in of_level]
            known = [(one, two, record) for one, two, record in values if one is not None and two is not None]
            if known:
                found.append(_difference(level, figure, known))
    return tuple(found)


def _indicator(figure: Way | Change) -> Callable[[ConsistencyRecord], float | None]:
    def way(record: ConsistencyRecord) -> float | None:
        if record.answer is None:
            return 0.0
        said = verdict(record, figure)  # pyright: ignore[reportArgumentType]
        return float(said.value == 1) if said.given else None

    def change(record: ConsistencyRecord) -> float | None:
        value = changed(record, figure)  # pyright: ignore[reportArgumentType]
        return None if value is None else float(value)

    return way if figure in WAYS else change


def _difference(
    level: str, figure: Way | Change, known: Sequence[tuple[float, float, ConsistencyRecord]]
) -> ConsistencyDifference:
    base_Q = _by_question([(record, one) for one, _, record in known])
    other_Q = _by_question([(record, two) for _, two, record in known])
    videos = {_question(record): record.video_id for _, _, record in known}
    named = [video for video in videos.values() if video is not None]
    resampled = len(named) == len(videos) and len(set(named)) >= FEWEST
    by_video = clustered_difference(base_Q, other_Q, named) if resampled else None
    return ConsistencyDifference(level, figure, paired_difference(base_Q, other_Q), by_video, len(base_Q))


def _level(level: str, records: Sequence[ConsistencyRecord]) -> LevelConsistency:
    return LevelConsistency(
        level=level,
        answers=len(records),
        questions=len(set(map(_question, records))),
        no_answer=sum(record.answer is None for record in records),
        ways=tuple(_way(way, records) for way in _gone(records)),
        dependence=_dependence(records),
    )


def _gone(records: Sequence[ConsistencyRecord]) -> list[Way]:
    """The ways that say something about some of the answers, be it that they cannot tell."""
    answered = [record for record in records if record.answer is not None]
    return [way for way in WAYS if any(verdict(record, way).given for record in answered)]


def _way(way: Way, records: Sequence[ConsistencyRecord]) -> WaySummary:
    """Of the answers of which the way was asked, and those without a letter, of which it need not be."""
    verdicts = [(record, verdict(record, way)) for record in records if record.answer is not None]
    told = [(record, said) for record, said in verdicts if said.given]
    values = {consistency_key(record): said.value for record, said in told}
    asked = [record for record in records if record.answer is None or consistency_key(record) in values]
    untold = Counter(said.reason for _, said in told if said.value not in (0.0, 1.0))

    def share(value: float) -> Share:
        shared = _share([(record, float(values.get(consistency_key(record)) == value)) for record in asked])
        assert shared is not None  # a way that was gone has answers
        return shared

    def right(value: float) -> Share | None:
        return _share([(record, float(record.correct)) for record, said in told if said.value == value])

    return WaySummary(
        way=way,
        consistent=share(1.0),
        inconsistent=share(0.0),
        untold=untold.total() / len(asked),
        reasons=tuple(untold.most_common()),
        right_if_consistent=right(1.0),
        right_if_inconsistent=right(0.0),
    )


def _dependence(records: Sequence[ConsistencyRecord]) -> Dependence | None:
    known = [(record, record.own, record.answer) for record in records if record.own and record.answer]
    if not known:
        return None

    def probability(after: Literal["own"] | Change) -> float | None:
        found = [(getattr(record, after), LETTERS.index(answer)) for record, _, answer in known]
        values = [probabilities[place] for probabilities, place in found if probabilities is not None]
        return _mean(values) if values else None

    def changes(change: Change) -> Share | None:
        values = [(record, changed(record, change)) for record, _, _ in known]
        return _share([(record, float(value)) for record, value in values if value is not None])

    return Dependence(
        answers=len(known),
        changed=tuple((change, changes(change)) for change in CHANGES),
        probability=tuple((after, probability(after)) for after in ("own", *CHANGES)),
        own_is_answer=_mean([LETTERS[most_likely(own)] == answer for _, own, answer in known]),
        letters_hold=_mean([record.letter_shares[0] for record, _, _ in known if record.letter_shares]),
        same_video=sum(record.other_same_video for record, _, _ in known),
        names_answer=sum(record.other_names_answer for record, _, _ in known),
    )


def _agreement(level: str, records: Sequence[ConsistencyRecord], one: Way, other: Way) -> Agreement:
    """Clustered by video, or by question where a video is not known."""
    said = [(verdict(record, one), verdict(record, other), record) for record in records if record.answer is not None]
    read = [(a.value == 1, b.value == 1, record) for a, b, record in said if None not in (a.value, b.value)]
    clusters: list[Hashable] = [record.video_id or _question(record) for _, _, record in read]
    return Agreement(level, one, other, cohen_kappa([a for a, _, _ in read], [b for _, b, _ in read], clusters))


def _share(values: Sequence[tuple[ConsistencyRecord, float]]) -> Share | None:
    """Mean over questions of the mean over their answers; None of nothing."""
    if not values:
        return None
    shares_Q = _by_question(values)
    interval = clustered_wilson_interval(shares_Q, len(values) / len(shares_Q))
    return Share(_mean(shares_Q), interval, len(values))


def _by_question(values: Sequence[tuple[ConsistencyRecord, float]]) -> list[float]:
    questions: dict[tuple[str, str], list[float]] = {}
    for record, value in values:
        questions.setdefault(_question(record), []).append(value)
    return [_mean(own) for own in questions.values()]


def _question(record: ConsistencyRecord) -> tuple[str, str]:
    return record.level, record.sample_id


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
