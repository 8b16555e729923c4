"""Questions of the page, most interesting first: what every run said, how it was read, and its attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sbr.analysis.cases import Case, cases_of
from sbr.analysis.evaluated import EvaluatedRun
from sbr.analysis.flow import first_answers
from sbr.eval.records import RecordKey
from sbr.eval.summary import in_natural_order
from sbr.report.page.attention import AttendedRun
from sbr.report.page.data import PageAnswer, PageCase
from sbr.reward.answer import answer_span
from sbr.reward.consistency import consistency
from sbr.reward.health import reasoning_span
from sbr.types import Answer, EvalRecord, Sample

Questions = Mapping[RecordKey, Sample]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """One case without its pictures."""

    case: Case
    sample: Sample | None
    """None without the data."""
    page: PageCase


def chosen_cases(
    asked: Sequence[EvaluatedRun], attended: Mapping[str, AttendedRun], questions: Questions | None
) -> Iterator[Chosen]:
    """Every question, the most interesting first; of about equal interest those whose attention is known.

    `attended`: name of a run -> its attention.  Made one by one, so that a page takes as many as fit.
    """
    records = {run.name: first_answers(run.records) for run in asked}
    cases = cases_of({run.name: run.records for run in asked}, questions)
    for case in _by_interest(cases, attended):
        sample = None if questions is None else questions[RecordKey(case.level, case.sample_id, 0)]
        own = [(name, of_run[case.level, case.sample_id]) for name, of_run in records.items()]
        yield Chosen(case, sample, _page_case(case, sample, own, attended))


def _by_interest(cases: Sequence[Case], attended: Mapping[str, AttendedRun]) -> Iterator[Case]:
    """As `cases_of`, levels in turns, in each by interest, but inside of a whole point those with attention first."""

    def attentions(case: Case) -> int:
        return sum((case.level, case.sample_id) in run.records for run in attended.values())

    by_level: dict[str, list[Case]] = {}
    for case in cases:
        by_level.setdefault(case.level, []).append(case)
    ordered = [
        sorted(by_level[level], key=lambda case: (-int(case.interest), -attentions(case)))
        for level in in_natural_order(by_level)
    ]
    for places in zip_longest(*ordered):
        yield from (case for case in places if case is not None)


def _page_case(
    case: Case,
    sample: Sample | None,
    records: Sequence[tuple[str, EvalRecord]],
    attended: Mapping[str, AttendedRun],
) -> PageCase:
    first = records[0][1]
    return PageCase(
        id=f"{case.level}/{case.sample_id}",
        level=case.level,
        domain=case.domain,
        scenario=case.scenario,
        video=first.video_id if sample is None else sample.video_id,
        goal=None if sample is None else sample.task_goal,
        question=first.prompt if sample is None else sample.question,
        options=case.options,
        gold=case.gold,
        progress=() if sample is None else tuple(step.narration_text for step in sample.progress),
        flow=case.flow,
        interest=case.interest,
        frames=None,
        answers=tuple(
            _page_answer(record, answer.tags, attended.get(name))
            for (name, record), answer in zip(records, case.answers, strict=True)
        ),
    )


def _page_answer(record: EvalRecord, tags: tuple[str, ...], attended: AttendedRun | None) -> PageAnswer:
    think = reasoning_span(record.response)
    read = consistency(record.response, Answer(record.extracted, record.rule, ""), record.options)
    return PageAnswer(
        response=record.response,
        letter=record.extracted,
        correct=record.correct,
        tokens=record.completion_tokens,
        truncated=record.truncated,
        tags=tags,
        think=think if think[0] < think[1] else None,
        answer=answer_span(record.response),
        consistency=read.reason,
        attention=None if attended is None else attended.of(record),
    )
