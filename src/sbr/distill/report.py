"""What a distillation gave: throughput, yield, reasons of rejection, and the questions that got nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from sbr.config.recipes import DistillRecipe
from sbr.distill.another import NONE_EXCHANGED, Exchanged
from sbr.distill.samples import SampleKey, TeacherSample, Verdict
from sbr.files import replace_file
from sbr.types import Sample

REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Hard:
    """A question without a kept answer.  Example: Hard("39", "Cut the onion", "grab onion", 0, "wrong")."""

    sample_id: str
    task_goal: str | None
    gold_text: str
    right: int
    """Answers that chose the right option and were rejected for something else."""
    mostly: str
    """The most frequent reason of rejection."""


@dataclass(frozen=True, slots=True)
class Report:
    """report.json; the keys on disk are these field names."""

    teacher: str
    engine: str
    questions: int
    samples: int
    """Answers asked for, a question."""
    answers: int
    kept: int
    questions_kept: int
    """Questions with a kept answer."""
    verdicts: dict[str, int]
    """Every verdict with its number of answers."""
    kept_per_question: tuple[int, ...]
    """Entry n: questions with n kept answers, 0 to `samples`."""
    right_per_question: tuple[int, ...]
    """Entry n: questions whose right option was chosen n times, whatever else was wrong: how hard they are."""
    seconds: float
    """Time of asking, interruptions left out."""
    answers_per_second: float
    tokens: int | None
    """Of all answers; None when the server did not say."""
    tokens_per_second: float | None
    hardest: tuple[Hard, ...]
    """All questions without a kept answer: those seldom answered rightly first, then in the order of the file."""
    reasonings_exchanged: int = 0
    """Rows that are written down with the reasoning of another question (`distill.reasoning`)."""
    reasonings_same: int = 0
    """Of these, rows whose new reasoning reads as their own."""


def report_of(
    questions: Sequence[Sample],
    judged: Sequence[TeacherSample],
    recipe: DistillRecipe,
    exchanged: Mapping[SampleKey, Exchanged] = NONE_EXCHANGED,
) -> Report:
    """`judged` holds `distill.samples` answers to each of `questions`, and nothing else."""
    by_question: dict[str, list[TeacherSample]] = {question.sample_id: [] for question in questions}
    for sample in judged:
        by_question[sample.sample_id].append(sample)
    kept = {key: sum(sample.verdict == "kept" for sample in answers) for key, answers in by_question.items()}
    right = {key: sum(s.extracted == s.gold for s in answers) for key, answers in by_question.items()}
    verdicts = Counter(sample.verdict for sample in judged)
    hardest = [
        Hard(
            question.sample_id,
            question.task_goal,
            question.gold_text,
            right[question.sample_id],
            str(Counter(sample.verdict for sample in by_question[question.sample_id]).most_common(1)[0][0]),
        )
        for question in questions
        if not kept[question.sample_id]
    ]
    seconds = sum(sample.seconds for sample in judged)
    counts = [sample.completion_tokens for sample in judged]
    tokens = sum(count for count in counts if count is not None) if None not in counts else None
    k = recipe.distill.samples
    return Report(
        teacher=recipe.model.path,
        engine=recipe.engine.kind,
        questions=len(questions),
        samples=k,
        answers=len(judged),
        kept=verdicts["kept"],
        questions_kept=len(questions) - len(hardest),
        verdicts={verdict: verdicts[verdict] for verdict in get_args(Verdict)},
        kept_per_question=tuple(sum(count == n for count in kept.values()) for n in range(k + 1)),
        right_per_question=tuple(sum(count == n for count in right.values()) for n in range(k + 1)),
        seconds=seconds,
        answers_per_second=len(judged) / seconds,
        tokens=tokens,
        tokens_per_second=None if tokens is None else tokens / seconds,
        hardest=tuple(sorted(hardest, key=lambda question: question.right)),
        reasonings_exchanged=len(exchanged),
        reasonings_same=sum(other.same for other in exchanged.values()),
    )


def write_report(report: Report, file: Path) -> None:
    """Atomically, as JSON."""
    replace_file(file, (json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n").encode())
