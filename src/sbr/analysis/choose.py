"""Which questions an analysis looks at when it does not look at all."""

from __future__ import annotations

from collections.abc import Sequence

from sbr.eval.records import RecordKey
from sbr.rollout.engine import question_seed


def drawing_place(level: str, sample_id: str) -> tuple[int, str]:
    """Sorts the questions of a level into the order in which they are drawn: by a hash of their names alone, so the
    first N are a random sample, more of them include it, and every analysis of every model has the same."""
    return question_seed(0, level, sample_id), sample_id


def choose_by_hash(keys: Sequence[RecordKey], per_level: int | None) -> list[RecordKey]:
    """All samples and rotations of `per_level` questions of each level, or of all questions with None.

    Levels stand in the order in which they appear, questions in that of `drawing_place`.
    """
    questions: dict[str, dict[str, list[RecordKey]]] = {}
    for key in keys:
        questions.setdefault(key.level, {}).setdefault(key.sample_id, []).append(key)
    return [
        key
        for of_level in questions.values()
        for _, own in sorted(of_level.items(), key=lambda item: drawing_place(*item[1][0][:2]))[:per_level]
        for key in own
    ]
