"""Saved answers under another rule: EvalRecord -> EvalRecord, without a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sbr.config.section import Rule
from sbr.errors import ConfigError, DataError
from sbr.eval.records import RECORDS, read_records, record_line
from sbr.files import replace_file
from sbr.resume.folder import RECIPE
from sbr.reward.answer import extract_answer
from sbr.types import EvalRecord


@dataclass(frozen=True, slots=True)
class LevelScores:
    """What another rule makes of one level.

    Example: LevelScores("L1", answers=2432, before=1100, after=1119, unread_before=60, unread_after=12, gained=25,
    lost=6).
    """

    level: str
    answers: int
    before: int
    """Right answers as the records were scored."""
    after: int
    unread_before: int
    """Responses in which the rule of before found no answer."""
    unread_after: int
    gained: int
    """Wrong before, right now."""
    lost: int


def rescore(record: EvalRecord, rule: Rule) -> EvalRecord:
    """The same answer read by `rule`: `extracted`, `correct` and `rule` are renewed, the rest is kept."""
    letter = extract_answer(record.response, record.options, rule).letter
    return replace(record, extracted=letter, correct=letter == record.gold, rule=rule)


def rescore_file(source: Path, rule: Rule, out: Path) -> tuple[list[EvalRecord], list[EvalRecord]]:
    """Write the records of `source` under `rule` to `out`, in the same order; return those of before and of now.

    `out` is written whole or not at all.  What is there already is replaced only if it holds the same answers, as what
    was written there before does.  Raises ConfigError when `out` is `source`, the records of an evaluation (they are
    what its model answered), or holds anything else; DataError for what is wrong with `source`, OSError for `out`.
    """
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; name the file to write, for example {out / f'{rule}.jsonl'}")
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigError(f"--out {out} is the file that is read; its answers are kept as they are, name another file")
    if out.name == RECORDS and (out.parent / RECIPE).exists():
        raise ConfigError(f"--out {out} belongs to the evaluation in {out.parent}; name another file")
    before = read_records(source)
    if os.path.lexists(out) and not _holds_answers(out, before):
        raise ConfigError(
            f"--out {out} holds something else than these answers; it is left as it is, name another file"
        )
    after = [rescore(record, rule) for record in before]
    replace_file(out, "".join(map(record_line, after)).encode("utf-8"))
    return before, after


def _holds_answers(file: Path, records: Sequence[EvalRecord]) -> bool:
    """Whether `file` has the same responses to the same questions, by whatever rule they are scored."""
    try:
        found = read_records(file) if file.is_file() else None
    except DataError:
        return False
    plain = {"extracted": None, "correct": False, "rule": ""}
    return found is not None and [replace(r, **plain) for r in found] == [replace(r, **plain) for r in records]


def scores_of_levels(before: Sequence[EvalRecord], after: Sequence[EvalRecord]) -> list[LevelScores]:
    """Counts per level, in alphabetical order; both sequences hold the same answers in the same order."""
    pairs_of: dict[str, list[tuple[EvalRecord, EvalRecord]]] = {}
    for pair in zip(before, after, strict=True):
        pairs_of.setdefault(pair[0].level, []).append(pair)
    return [
        LevelScores(
            level=level,
            answers=len(pairs),
            before=sum(old.correct for old, _ in pairs),
            after=sum(new.correct for _, new in pairs),
            unread_before=sum(old.extracted is None for old, _ in pairs),
            unread_after=sum(new.extracted is None for _, new in pairs),
            gained=sum(new.correct and not old.correct for old, new in pairs),
            lost=sum(old.correct and not new.correct for old, new in pairs),
        )
        for level, pairs in sorted(pairs_of.items())
    ]
