"""Which questions an analysis looks at when it does not look at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sbr.eval.records import RecordKey


def choose_by_hash(keys: Sequence[RecordKey], per_level: int | None) -> list[RecordKey]:
    """All samples and rotations of `per_level` questions of each level, or of all questions with None.

    Levels stand in the order in which they appear, questions in that of sha256(level, 0, sample_id): the choice depends
    on nothing but the names of the questions, is the same for every model, and a larger one begins with a smaller one.
    """
    questions: dict[str, dict[str, list[RecordKey]]] = {}
    for key in keys:
        questions.setdefault(key.level, {}).setdefault(key.sample_id, []).append(key)
    return [
        key
        for of_level in questions.values()
        for _, own in sorted(of_level.items(), key=lambda item: _digest(*item[1][0][:2]))[:per_level]
        for key in own
    ]


def _digest(level: str, sample_id: str) -> bytes:
    return hashlib.sha256(f"{level}\0{sample_id}".encode()).digest()
