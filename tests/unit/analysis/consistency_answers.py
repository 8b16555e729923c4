"""Records of evaluations for tests of the consistency of answers."""

from __future__ import annotations

from sbr.reward.answer import extract_answer
from sbr.types import EvalRecord

OPTIONS = ("boil water", "open cupboard", "wash cup", "take spoon")


def record(
    response: str, sample_id: str = "0", video: str | None = "V0", rule: str = "official", **values
) -> EvalRecord:
    letter = extract_answer(response, OPTIONS, rule).letter  # pyright: ignore[reportArgumentType]
    fields = {
        "sample_id": sample_id,
        "level": "L1",
        "domain": "Work",
        "sample_index": 0,
        "prompt": "",
        "options": OPTIONS,
        "response": response,
        "extracted": letter,
        "gold": "A",
        "correct": letter == "A",
        "rule": rule,
        "completion_tokens": 1,
        "truncated": False,
        "seconds": 0.0,
        "video_id": video,
    }
    return EvalRecord(**(fields | values))


def answer(reasoning: str, letter: str = "B") -> str:
    return f"<think>{reasoning}</think><answer>{letter}</answer>"
