"""Does the reasoning entail the answer?  By rule of every answer; by likelihood and judge where they were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sbr.analysis.consistency_folder import read_consistency
from sbr.analysis.consistency_records import ConsistencyRecord, consistency_folder
from sbr.analysis.consistency_summary import (
    LevelConsistency,
    RunConsistency,
    Share,
    WaySummary,
    compare_consistency,
    summarize_consistency,
)
from sbr.analysis.evaluated import EvaluatedRun
from sbr.analysis.verdicts import WAYS, Change, Way
from sbr.report.consistency_tables import consistency_tables
from sbr.report.page.data import Bar, Bars, Difference, Fraction, Section
from sbr.report.page.inputs import PageRuns
from sbr.report.page.results import difference
from sbr.report.page.tables import page_table
from sbr.resume.folder import RECIPE
from sbr.reward.consistency import consistency
from sbr.types import Answer, EvalRecord

_WAYS: Mapping[Way, str] = {"rule": "by rule", "likelihood": "by likelihood", "judge": "by a judge"}
_CHANGES: Mapping[Change, str] = {
    "empty": "without any reasoning",
    "cut": "after half of its reasoning",
    "other": "after the reasoning of another question",
}


Ruled = Mapping[str, Sequence[ConsistencyRecord]]
"""Name of a run -> `by_rule` of its answers."""


def consistency_section(runs: PageRuns, by_name: Ruled) -> Section:
    """Raises DataError as `read_consistency` does for an analysis that is not finished."""
    ruled = {name: summarize_consistency(records) for name, records in by_name.items()}
    analysed = {run.name: read_consistency(run.folder) for run in runs.asked if _is_analysed(run)}
    deeper = {name: _without_rule(summarize_consistency(records)) for name, records in analysed.items()}
    bars = [_way_bars("rule", ruled), *(_way_bars(way, deeper) for way in WAYS[1:])]
    bars += [_change_bars(change, deeper) for change in _CHANGES]
    tables = consistency_tables(ruled, {})
    intro = "Does the reasoning end at the answer that is given? By rule: what the text names, of every answer."
    if analysed:
        tables += consistency_tables(deeper, {})
        counts = ", ".join(f"{name} {len(records)}" for name, records in analysed.items())
        intro += f" By what the reasoning does to the likelihood of the answer: of drawn answers ({counts})."
        if any(_of("judge", level) for summary in deeper.values() for level in summary.levels):
            intro += " By a judge, a language model: of as many."
    return Section(
        "consistency",
        "Reasoning and answer",
        intro,
        bars=tuple(found for found in bars if found.bars),
        tables=tuple(map(page_table, tables)),
    )


def rule_differences(by_name: Ruled) -> tuple[Difference, ...]:
    """Of the shares of consistent answers by rule: every run against the first, level by level."""
    (first, base), *others = by_name.items()
    return tuple(
        difference(first, name, found.level, found.paired, found.by_video, None)
        for name, records in others
        for found in compare_consistency(base, records)
        if found.figure == "rule"
    )


def by_rule(records: Sequence[EvalRecord]) -> list[ConsistencyRecord]:
    """What the rule of `sbr.reward.consistency` says about every answer; nothing else is known."""
    found: list[ConsistencyRecord] = []
    for record in records:
        read = consistency(record.response, Answer(record.extracted, record.rule, ""), record.options)
        found.append(
            ConsistencyRecord(
                sample_id=record.sample_id,
                level=record.level,
                sample_index=record.sample_index,
                rotation=record.rotation,
                answer=record.extracted,
                correct=record.correct,
                rule=read.value,
                rule_reason=read.reason,
                video_id=record.video_id,
            )
        )
    return found


def _is_analysed(run: EvaluatedRun) -> bool:
    return (consistency_folder(run.folder) / RECIPE).is_file()


def _without_rule(summary: RunConsistency) -> RunConsistency:
    """The rule has been asked about every answer, so it is not shown again of the drawn ones."""
    levels = (replace(level, ways=tuple(way for way in level.ways if way.way != "rule")) for level in summary.levels)
    return replace(summary, levels=tuple(levels))


def _of(way: Way, level: LevelConsistency) -> WaySummary | None:
    return next((found for found in level.ways if found.way == way), None)


def _way_bars(way: Way, runs: Mapping[str, RunConsistency]) -> Bars:
    return Bars(
        f"Consistent answers, {_WAYS[way]}",
        "Share of the answers at which the reasoning ends.",
        "%",
        tuple(
            Bar(name, level.level, _fraction(found.consistent))
            for name, summary in runs.items()
            for level in summary.levels
            if (found := _of(way, level)) is not None
        ),
    )


def _change_bars(change: Change, runs: Mapping[str, RunConsistency]) -> Bars:
    return Bars(
        f"The likeliest letter is another one {_CHANGES[change]}",
        "Share of the answers; where it is low the answer does not come from the reasoning.",
        "%",
        tuple(
            Bar(name, level.level, _fraction(share))
            for name, summary in runs.items()
            for level in summary.levels
            if level.dependence is not None and (share := dict(level.dependence.changed)[change]) is not None
        ),
    )


def _fraction(share: Share) -> Fraction:
    return Fraction(share.value, share.interval.low, share.interval.high, share.answers)
