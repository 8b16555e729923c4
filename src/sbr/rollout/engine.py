"""The one interface to what gives answers: the model in this process, vLLM, or any OpenAI-compatible server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sbr.types import Frames, Sample

if TYPE_CHECKING:
    from sbr.rollout.sampling import Sampling


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One question as an engine gets it."""

    sample: Sample
    frames: Frames
    """At multiples of the engine's `size_factor`."""
    seed: int
    """Of this question, at least 0: a sampled answer depends on the question, this seed and its index only."""
    known: frozenset[int] = frozenset()
    """Indices of answers that exist already (`Engine.one_by_one`)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.  Example: Reply("<think>...</think><answer>B</answer>", tokens=41, truncated=False)."""

    text: str
    tokens: int | None
    """Length in tokens; None where a server does not say."""
    truncated: bool
    """The token limit came before the end of the turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Replies to one question, all of them or, from an engine that asks one by one, some."""

    question: Question
    prompt: str
    """The text as sent; media are placeholders."""
    replies: Mapping[int, Reply]
    """By their index, 0 <= index < samples."""
    seconds: float
    """Time spent on each of these replies: a share of the time that passed, so that all replies add up to the run."""


@runtime_checkable
class Engine(Protocol):
    """Answers questions.  A context manager: leaving it frees the memory or stops the requests under way."""

    @property
    def size_factor(self) -> int:
        """Heights and widths of frames must be multiples of it (28, or 32 for Qwen3-VL)."""
        ...

    @property
    def one_by_one(self) -> bool:
        """True: answers are asked for one by one and known ones are left out.  False: whole batches, known or not."""
        ...

    def answer(
        self, batches: Iterable[Sequence[Question]], samples: int, sampling: Sampling
    ) -> Iterator[list[Answered]]:
        """`samples` answers of every question, each list to be stored before the next is asked for.

        `batches` is read lazily.  native and vllm give one list a batch, in order, every question with all its
        replies.  endpoint has a window of requests under way across the borders of batches and gives every reply as
        soon as it is there, so lists come in the order of arrival; `Answered.question` says what was asked.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...


def question_seed(seed: int, level: str, sample_id: str, rotation: int = 0) -> int:
    """Random seed of one question: the same on every machine and whatever else is asked.  63 bits.

    The order of the benchmark has the same seed whether or not other rotations are asked too.
    """
    rotated = f"\0{rotation}" if rotation else ""
    digest = hashlib.sha256(f"{seed}\0{level}\0{sample_id}{rotated}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
