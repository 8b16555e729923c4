"""Questions on which models differ: what happened to each, with tags, sorted by interest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """What one model said.  Example: CaseAnswer("GRPO", "<think>...", "B", True, ("fixed", "contradicts")).

    Tags: "fixed" (right, and the model before was not), "broken" (the reverse), "contradicts" (the reasoning names
    another option than the answer), "right against its own reasoning", "missed cue", "cut off", "letters only".
    """

    run: str
    response: str
    extracted: str | None
    correct: bool
    tags: tuple[str, ...]


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
    """Larger first; what it is made of: docs/analysis.md."""
