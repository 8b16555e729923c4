"""Questions on which models differ: what happened to each, with tags (`sbr.analysis.tags`), sorted by interest.

A question has one answer a model, the first sample in the benchmark's own order of options
(`sbr.analysis.flow.first_answers`); with several samples or rotations `CaseAnswer.right_of` says how many are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType

from sbr.analysis import tags
from sbr.analysis.flow import first_answers, same_questions
from sbr.errors import ConfigError, DataError
from sbr.eval.records import RecordKey
from sbr.eval.summary import in_natural_order
from sbr.files import check_output, read_file, replace_file
from sbr.resume.journal import MOST_BYTES, LineFormat, Wrong
from sbr.types import LETTERS, EvalRecord, Sample

POINTS: Mapping[str, float] = MappingProxyType(
    {
        **{tags.FIXED: 2.0, tags.BROKEN: 2.0},
        **{tags.CONTRADICTS: 0.5, tags.RIGHT_AGAINST: 1.0, tags.NO_OPTION_LAST: 0.25},
        **{tags.DONE_BEFORE: 0.25, tags.NOT_NAMED: 0.25},
        **{tags.CUT_OFF: 0.5, tags.LETTERS_ONLY: 0.5, tags.NO_ANSWER: 0.5},
    }
)
"""What each tag of each answer adds to the interest of a question."""


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """What one model said.

    Example: CaseAnswer("GRPO", "<think>...", "B", True, ("fixed", "contradicts", "right against its own reasoning")).
    The tags and their rules: `sbr.analysis.tags`.
    """

    run: str
    response: str
    extracted: str | None
    correct: bool
    tags: tuple[str, ...]
    right_of: tuple[int, int] | None = None
    """With several samples or rotations: how many of how many answers of the model to this question are right."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question with the answers of all models, in the order in which they were given."""

    sample_id: str
    level: str
    domain: str
    scenario: str | None
    gold: str
    options: tuple[str, ...]
    answers: tuple[CaseAnswer, ...]
    flow: str
    """Right (1) and wrong (0) from model to model: "0110"."""
    interest: float
    """Larger first within a level; what it is made of: `interest_of`."""
    question: str | None = None
    """None when only records were read."""
    progress: tuple[str, ...] = ()
    """The actions narrated before the question, which the models do not see as words."""


def cases_of(
    runs: Mapping[str, Sequence[EvalRecord]], questions: Mapping[RecordKey, Sample] | None = None
) -> tuple[Case, ...]:
    """Every question of the runs, most interesting first, and levels in turns, so that none fills the front.

    The order is a function of the answers alone: the first of every level, the second of every level, and so on; in a
    level by interest, then by sample id in natural order.  `questions` are those of one of the runs
    (`EvaluatedRun.questions`); without them the tags that need what was narrated (`tags.OF_PROGRESS`) are not given.
    Of one run nothing is fixed or broken.  Raises as `sbr.analysis.flow.same_questions` does.
    """
    same = same_questions(runs) if len(runs) > 1 else runs
    first = {name: first_answers(records) for name, records in same.items()}
    right_of = {name: _right_of(records) for name, records in runs.items()}
    flows: dict[tuple[str, str], str] = {}
    for key in next(iter(first.values())):
        flows[key] = "".join("1" if answers[key].correct else "0" for answers in first.values())
    alike = Counter((level, flow) for (level, _), flow in flows.items())
    size = Counter(level for level, _ in flows)
    by_level: dict[str, list[Case]] = {level: [] for level in in_natural_order(size)}
    for (level, sample_id), flow in flows.items():
        records = {name: answers[level, sample_id] for name, answers in first.items()}
        sample = None if questions is None else questions[RecordKey(level, sample_id, 0)]
        progress = () if sample is None else sample.progress
        answers: list[CaseAnswer] = []
        before: EvalRecord | None = None
        for name, record in records.items():
            right, asked = right_of[name][level, sample_id]
            found = tags.tags_of(record, before, progress)
            several = (right, asked) if asked > 1 else None
            answers.append(CaseAnswer(name, record.response, record.extracted, record.correct, found, several))
            before = record
        one = next(iter(records.values()))
        by_level[level].append(
            Case(
                sample_id=sample_id,
                level=level,
                domain=one.domain,
                scenario=next((record.scenario for record in records.values() if record.scenario is not None), None),
                gold=one.gold,
                options=one.options,
                answers=tuple(answers),
                flow=flow,
                interest=interest_of(answers, alike[level, flow] / size[level]),
                question=None if sample is None else sample.question,
                progress=tuple(step.narration_text for step in progress),
            )
        )
    return tuple(_in_turns([_sorted(cases) for cases in by_level.values()]))


def interest_of(answers: Sequence[CaseAnswer], share: float) -> float:
    """Sum of `POINTS` over all tags of all answers, and 1 - `share`, of the questions of the level that have the same
    flow, so that of two cases the rarer flow comes first.  0 without any tag: nothing happened.

    >>> interest_of([CaseAnswer("base", "", "A", False, ()), CaseAnswer("GRPO", "", "B", True, ("fixed",))], share=0.5)
    2.5
    """
    points = sum(POINTS[tag] for answer in answers for tag in answer.tags)
    return points + 1 - share if points else 0.0


def write_cases(cases: Sequence[Case], file: Path) -> None:
    """One case a line, the whole file at once; replaces only a file of cases, else raises ConfigError."""
    check_output(file, b'{"sample_id": ')
    if file.is_file():
        with file.open("rb") as stream:
            first = stream.readline(MOST_BYTES)
        try:
            LINES.parse(first, file)
        except DataError:  # records of an evaluation begin with the same key
            raise ConfigError(f"{file} holds something else than cases; it is left as it is, name another") from None
    replace_file(file, "".join(map(LINES.line, cases)).encode("utf-8"))


def read_cases(file: Path) -> tuple[Case, ...]:
    """What `write_cases` wrote, in the same order.

    Raises DataError for a missing file, and with file:line for a line that is no case, contradicts itself or repeats
    a question.
    """
    content = read_file(file, MOST_BYTES, "`sbr analyze cases --out` writes it")
    if content and not content.endswith(b"\n"):
        line = content.count(b"\n") + 1
        raise DataError(f"{file}:{line}: the last line is torn; run the same `sbr analyze cases` again")
    return tuple(LINES.parse(content, file))


def _right_of(records: Sequence[EvalRecord]) -> dict[tuple[str, str], tuple[int, int]]:
    """(level, sample id) -> (right answers, answers)."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for record in records:
        right, asked = found.get(key := (record.level, record.sample_id), (0, 0))
        found[key] = (right + record.correct, asked + 1)
    return found


def _sorted(cases: Sequence[Case]) -> list[Case]:
    ids = {sample_id: place for place, sample_id in enumerate(in_natural_order(case.sample_id for case in cases))}
    return sorted(cases, key=lambda case: (-case.interest, ids[case.sample_id]))


def _in_turns(levels: Sequence[Sequence[Case]]) -> Iterator[Case]:
    for places in zip_longest(*levels):
        yield from (case for case in places if case is not None)


def _wrong(case: Case) -> Wrong | None:
    """What does not follow from the other fields."""
    letters = LETTERS[: len(case.options)]
    if case.gold not in tuple(letters):
        return Wrong("gold", f"one of {', '.join(letters)}", repr(case.gold))
    for number, answer in enumerate(case.answers):
        right = answer.extracted == case.gold
        if answer.correct != right:
            return Wrong(f"answers.{number}.correct", f"{right}, as extracted and gold say", repr(answer.correct))
        if strange := next((tag for tag in answer.tags if tag not in tags.TAGS), None):
            return Wrong(f"answers.{number}.tags", f"some of {', '.join(tags.TAGS)}", repr(strange))
    flow = "".join("1" if answer.correct else "0" for answer in case.answers)
    return None if case.flow == flow else Wrong("flow", f"{flow!r}, as the answers say", repr(case.flow))


def _key(case: Case) -> tuple[str, str]:
    return case.level, case.sample_id


def _name(key: tuple[str, str]) -> str:
    return f"question {key[1]} of {key[0]}"


LINES = LineFormat(Case, _key, _name, _wrong)
"""Of a file of cases."""
