"""RUN/consistency/consistency.jsonl: one ConsistencyRecord a line: does the reasoning entail the answer?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbr.eval.records import RecordKey
from sbr.resume.journal import LineFormat, Wrong
from sbr.types import LETTERS

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


def _wrong(record: ConsistencyRecord) -> Wrong | None:
    """What is no verdict, letter or distribution over the letters on offer."""
    if record.rule not in (0.0, 0.5, 1.0):
        return Wrong("rule", "0, 0.5 or 1", repr(record.rule))
    if record.answer is not None and record.answer not in tuple(LETTERS):
        return Wrong("answer", f"one of {', '.join(LETTERS)}", repr(record.answer))
    letters = None
    for name in ("own", "empty", "cut", "other"):
        found: tuple[float, ...] | None = getattr(record, name)
        if found is None:
            continue
        letters = letters or len(found)
        if not 2 <= len(found) <= len(LETTERS) or len(found) != letters:
            return Wrong(name, "a probability of each letter on offer", f"of {len(found)}")
        if not all(0 <= p <= 1 for p in found) or abs(sum(found) - 1) > 1e-6:
            return Wrong(name, "probabilities that add up to 1", f"{found}")
        if record.answer is None or LETTERS.index(record.answer) >= letters:
            return Wrong("answer", f"one of {', '.join(LETTERS[:letters])}", repr(record.answer))
    if not all(0 <= share < 1.001 for share in record.letter_shares or ()):
        return Wrong("letter_shares", "shares from 0 to 1", f"{record.letter_shares}")
    return None


LINES = LineFormat(ConsistencyRecord, consistency_key, _name, _wrong)


def consistency_folder(run: Path) -> Path:
    """Where `sbr analyze consistency` keeps what it finds about the evaluation in `run`."""
    return run / FOLDER
