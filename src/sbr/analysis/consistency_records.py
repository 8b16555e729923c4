"""RUN/consistency/consistency.jsonl: one ConsistencyRecord a line: does the reasoning entail the answer?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbr.eval.records import RecordKey
from sbr.resume.journal import LineFormat

FOLDER = "consistency"
RECORDS = "consistency.jsonl"
"""Without judge, which comes from JUDGE on reading (sbr.analysis.consistency_folder.read_consistency)."""
JUDGE = "judge.jsonl"


@dataclass(frozen=True, slots=True)
class ConsistencyRecord:
    """One answer.  Probabilities are of the letters on offer, in their order, normalised over these letters.

    Example: rule 0.0 ("the reasoning names D, the answer is B"), own (0.02, 0.9, 0.03, 0.05), empty (0.2, 0.4, 0.2,
    0.2), cut (...), other (...), judge "D".
    """

    sample_id: str
    level: str
    sample_index: int
    rotation: int
    answer: str | None
    """The letter that was chosen; without one nothing below but the rule has a value."""
    correct: bool
    rule: float
    """1 the reasoning ends at the answer, 0 it does not, 0.5 cannot be told (sbr.reward.consistency)."""
    rule_reason: str
    own: tuple[float, ...] | None = None
    """After the model's own reasoning."""
    empty: tuple[float, ...] | None = None
    """After no reasoning: <think></think><answer>."""
    cut: tuple[float, ...] | None = None
    """After the first half of its words."""
    other: tuple[float, ...] | None = None
    """After the reasoning that the same model wrote for another question of the level."""
    other_sample_id: str | None = None
    letter_shares: tuple[float, ...] | None = None
    """What share of the whole probability the letters on offer hold after own, empty, cut and (if there is one)
    other."""
    likelihood_reason: str = ""
    """Why there are no probabilities: "no answer", ... (sbr.analysis.variants)."""
    other_same_video: bool = False
    """The other reasoning is about the same video: the level has no other."""
    other_names_answer: bool = False
    """The other reasoning names the chosen option: none was found that does not."""
    video_id: str | None = None
    """As in the evaluation's record."""
    judge: str | None = None
    """The letter that a language model reads out of the reasoning alone, or "none"; None when it was not asked."""
    judge_reply: str | None = None
    """What it said, whole; also when no verdict could be read, then `judge` is "unread"."""


def consistency_key(record: ConsistencyRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)


def _name(key: RecordKey) -> str:
    return f"the consistency of question {key.sample_id} of {key.level} (sample {key.sample_index})"


LINES = LineFormat(ConsistencyRecord, consistency_key, _name)


def consistency_folder(run: Path) -> Path:
    """Where `sbr analyze consistency` keeps what it finds about the evaluation in `run`."""
    return run / FOLDER
