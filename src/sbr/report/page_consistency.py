"""Does the reasoning entail the answer?  By rule of every answer; by likelihood and judge where they were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from sbr.eval.agreement import Kappa
from sbr.report.page_data import Bar, Bars, Difference, Fraction, PageTable, Section
from sbr.report.page_inputs import PageRuns
from sbr.report.page_results import difference
from sbr.report.tables import interval_cell, percent
from sbr.resume.folder import RECIPE
from sbr.reward.consistency import consistency
from sbr.types import Answer, EvalRecord

_WAYS: Mapping[Way, str] = {"rule": "by rule", "likelihood": "by likelihood", "judge": "by a judge"}
_CHANGES: Mapping[Change, str] = {
    "empty": "without any reasoning",
    "cut": "after half of its reasoning",
    "other": "after the reasoning of another question",
}


def consistency_section(runs: PageRuns) -> Section:
    """Raises DataError as `read_consistency` does for an analysis that is not finished."""
    ruled = {run.name: summarize_consistency(by_rule(run.records)) for run in runs.asked}
    analysed = {run.name: read_consistency(run.folder) for run in runs.asked if _is_analysed(run)}
    deeper = {name: summarize_consistency(records) for name, records in analysed.items()}
    bars = [_way_bars("rule", ruled)]
    tables = [_table("Reasoning and answer, by rule", "rule", ruled)]
    for way in WAYS[1:]:
        if any(_of(way, level) for summary in deeper.values() for level in summary.levels):
            bars.append(_way_bars(way, deeper))
            tables.append(_table(f"Reasoning and answer, {_WAYS[way]}", way, deeper))
    bars += [found for change in _CHANGES if (found := _change_bars(change, deeper)).bars]
    if agreements := _agreement_rows(deeper):
        note = (
            "Cohen's kappa with its 95 % interval, over the answers of which both ways say yes or no; agreement: the "
            "share on which they say the same."
        )
        header = ("", "ways", "answers", "agreement", "kappa")
        tables.append(PageTable("Do the ways agree?", header, agreements, note))
    intro = "Whether the reasoning ends at the answer that is given. By rule: what the text names, of every answer."
    if analysed:
        counts = ", ".join(f"{len(records)} of {name}" for name, records in analysed.items())
        intro += f" By likelihood and judge: of drawn answers ({counts})."
    return Section("consistency", "Reasoning and answer", intro, bars=tuple(bars), tables=tuple(tables))


def rule_differences(runs: PageRuns) -> tuple[Difference, ...]:
    """Of the shares of consistent answers by rule: every run against the first, level by level."""
    first = runs.asked[0]
    base = by_rule(first.records)
    return tuple(
        difference(first.name, run.name, found.level, found.paired, found.by_video, None)
        for run in runs.asked[1:]
        for found in compare_consistency(base, by_rule(run.records))
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


def _table(title: str, way: Way, runs: Mapping[str, RunConsistency]) -> PageTable:
    rows = [
        (
            f"{name} {level.level}",
            str(level.answers),
            _cell(found.consistent),
            _cell(found.inconsistent),
            percent(found.untold),
            percent(level.no_answer / level.answers),
            _cell(found.right_if_consistent),
            _cell(found.right_if_inconsistent),
        )
        for name, summary in runs.items()
        for level in summary.levels
        if (found := _of(way, level)) is not None
    ]
    header = (
        *("", "answers", "consistent", "inconsistent", "cannot tell", "no answer"),
        *("right if consistent", "right if inconsistent"),
    )
    note = (
        "In % [95 % interval]. consistent: the reasoning ends at the answer; inconsistent: at another one; cannot "
        "tell: it names none or several. right if ...: accuracy of these answers."
    )
    return PageTable(title, header, tuple(rows), note)


def _agreement_rows(runs: Mapping[str, RunConsistency]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f"{name} {found.level}",
            f"{found.one} and {found.other}",
            str(found.kappa.answers),
            "-" if found.kappa.agreement is None else percent(found.kappa.agreement),
            _kappa(found.kappa),
        )
        for name, summary in runs.items()
        for found in summary.agreements
    )


def _kappa(kappa: Kappa) -> str:
    if kappa.value is None:
        return "-"
    limits = kappa.interval
    return f"{kappa.value:.2f}" if limits is None else f"{kappa.value:.2f} [{limits.low:.2f}, {limits.high:.2f}]"


def _fraction(share: Share) -> Fraction:
    return Fraction(share.value, share.interval.low, share.interval.high, share.answers)


def _cell(share: Share | None) -> str:
    return "-" if share is None else f"{percent(share.value)} {interval_cell(share.interval)}"
