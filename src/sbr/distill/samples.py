"""samples.jsonl: every answer of the teacher, kept or not, one a line (`sbr.resume.journal`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from sbr.resume.journal import LineFormat
from sbr.rollout.engine import Answered, Reply
from sbr.types import Sample

SAMPLES = "samples.jsonl"

Verdict: TypeAlias = Literal[
    "kept", "truncated", "format", "no_answer", "wrong", "inconsistent", "short", "long", "duplicate", "surplus"
]
"""What became of an answer: kept, or the first reason against it in this order (`sbr.distill.select`)."""


class SampleKey(NamedTuple):
    """Which answer a line holds; unique in a file.  Example: SampleKey("39", 0)."""

    sample_id: str
    sample_index: int


@dataclass(frozen=True, slots=True)
class TeacherSample:
    """One answer of the teacher; the keys on disk are these field names.

    Example: sample_id "39", sample_index 2 (the third of k), options ("open drawer", ...), gold "B", response
    "<think>...</think><answer>B</answer>", completion_tokens 41, truncated False, extracted "B", verdict "kept".
    """

    sample_id: str
    sample_index: int
    prompt: str
    """The text as sent; media are placeholders."""
    options: tuple[str, ...]
    """As asked."""
    gold: str
    response: str
    completion_tokens: int | None
    """None where a server does not say."""
    truncated: bool
    seconds: float
    """Time spent on this answer; all of a file add up to the time of asking."""
    extracted: str | None = None
    verdict: Verdict | None = None
    """None (left out on disk) while the run goes on: it depends on all answers to the question."""


def key_of_answer(sample: Sample, index: int) -> SampleKey:
    """Of the answer with this index to `sample`."""
    return SampleKey(sample.sample_id, index)


def sample_of(answered: Answered, index: int, reply: Reply) -> TeacherSample:
    """The answer with this index as it is written down, not judged yet."""
    asked = answered.question.sample
    return TeacherSample(
        sample_id=asked.sample_id,
        sample_index=index,
        prompt=answered.prompt,
        options=asked.options,
        gold=asked.gold,
        response=reply.text,
        completion_tokens=reply.tokens,
        truncated=reply.truncated,
        seconds=answered.seconds,
    )


def _key(sample: TeacherSample) -> SampleKey:
    return SampleKey(sample.sample_id, sample.sample_index)


def _name(key: SampleKey) -> str:
    return f"question {key.sample_id} (sample {key.sample_index})"


LINES = LineFormat(TeacherSample, _key, _name)
