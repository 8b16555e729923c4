"""The control "wrong reasoning, right letter": every kept answer gets the reasoning of another question's.

What SFT then learns has the form, the letters and, where no question has more than half of the rows, exactly the
reasonings of the ordinary rows; only which reasoning stands before which answer is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sbr.distill.samples import LINES, SampleKey, TeacherSample
from sbr.errors import ConfigError
from sbr.reward.health import reasoning_span, reasoning_text


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A response whose reasoning is that of the answer `source`."""

    response: str
    source: SampleKey
    same: bool
    """The two reasonings read the same, so nothing is wrong with it."""


NONE_EXCHANGED: Mapping[SampleKey, Exchanged] = MappingProxyType({})


def exchange(kept: Sequence[TeacherSample], seed: int) -> dict[SampleKey, Exchanged]:
    """Kept answer -> what is learned in its place.

    Questions are put into an order that depends on `seed` and their ids only; each answer takes the reasoning that
    stands m places later in the circle, m being the most answers of one question.  So the donor is another question's,
    and every reasoning is used once, unless one question has more than half of the answers: then the next one of
    another question is taken.

    Raises ConfigError when the answers are of fewer than two questions.
    """
    counts = Counter(sample.sample_id for sample in kept)
    refuse_too_few(len(counts), "with a kept answer")
    ordered = sorted(kept, key=lambda sample: (_rank(seed, sample.sample_id), sample.sample_id, sample.sample_index))
    found: dict[SampleKey, Exchanged] = {}
    for place, sample in enumerate(ordered):
        other = (place + max(counts.values())) % len(ordered)
        while ordered[other].sample_id == sample.sample_id:
            other = (other + 1) % len(ordered)
        source = ordered[other]
        first, last = reasoning_span(sample.response)
        reasoning = reasoning_text(source.response)
        response = sample.response[:first] + reasoning + sample.response[last:]
        same = reasoning.split() == sample.response[first:last].split()
        found[LINES.key(sample)] = Exchanged(response, LINES.key(source), same)
    return found


def refuse_too_few(questions: int, which: str) -> None:
    """Raise ConfigError where no question has another one."""
    if questions < 2:
        raise ConfigError(
            f'distill.reasoning is "another", and there are {questions} questions {which}: a reasoning can come from '
            'another question only where there are two; ask more, loosen the filters, or set it to "own"'
        )


def _rank(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{sample_id}\0another".encode()).digest()
