"""RUN/consistency as others read it: the records of the chosen answers, each with what the judge said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sbr.analysis import judge
from sbr.analysis.choose import choose_by_hash
from sbr.analysis.consistency_records import JUDGE, LINES, RECORDS, ConsistencyRecord, consistency_folder
from sbr.analysis.judge import JudgeKey, JudgeReply
from sbr.config.consistency import ConsistencyRecipe, JudgeConfig
from sbr.config.load import read_resolved
from sbr.errors import DataError
from sbr.eval.records import RecordKey, read_records, record_key, records_file
from sbr.files import read_file
from sbr.resume.folder import RECIPE
from sbr.resume.journal import MOST_BYTES, LineFormat
from sbr.types import EvalRecord

KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT")


def read_consistency(run: Path) -> list[ConsistencyRecord]:
    """What `sbr analyze consistency` found about the evaluation in `run`, in the order of its choice of questions.

    The judge is the one that was named last; answers that it was not asked about have none.  Raises DataError when
    there is nothing, when it is not finished, or when the evaluation now has other answers.
    """
    folder = consistency_folder(run)
    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder} holds no analysis; `sbr analyze consistency {run}` makes one")
    recipe = read_resolved(ConsistencyRecipe, folder / RECIPE)
    evaluated = {record_key(record): record for record in read_records(records_file(run))}
    records = {LINES.key(record): record for record in _read(LINES, folder / RECORDS)}
    replies = {judge.judge_key(reply): reply for reply in _read(judge.LINES, folder / JUDGE)}
    return joined(list(evaluated.values()), records, replies, recipe, folder)


def joined(
    evaluated: Sequence[EvalRecord],
    records: Mapping[RecordKey, ConsistencyRecord],
    replies: Mapping[JudgeKey, JudgeReply],
    recipe: ConsistencyRecipe,
    folder: Path,
) -> list[ConsistencyRecord]:
    """The records of the chosen answers with the verdicts of the recipe's judge.  Raises DataError as above."""
    by_key = {record_key(record): record for record in evaluated}
    chosen = choose_by_hash(list(by_key), recipe.per_level)
    if missing := [key for key in chosen if key not in records]:
        raise DataError(
            f"{folder / RECORDS} holds {len(chosen) - len(missing)} of {len(chosen)} answers (the first that is missing"
            f" is {LINES.name(missing[0])}); run the same `sbr analyze consistency` again, it continues"
        )
    found: list[ConsistencyRecord] = []
    for key in chosen:
        record, answer = records[key], by_key[key]
        if (record.answer, record.correct) != (answer.extracted, answer.correct):
            raise DataError(
                f"{folder / RECORDS}: {LINES.name(key)} has the answer {record.answer!r}, and now the evaluation has "
                f"{answer.extracted!r}; remove {folder} and run `sbr analyze consistency` again"
            )
        found.append(_judged(record, answer, replies, recipe.judge))
    return found


def _judged(
    record: ConsistencyRecord, answer: EvalRecord, replies: Mapping[JudgeKey, JudgeReply], config: JudgeConfig | None
) -> ConsistencyRecord:
    if config is None or answer.extracted is None:
        return record
    if not judge.needs_judge(answer):
        return replace(record, judge=judge.NONE)
    reply = replies.get(JudgeKey(judge.asked_of(config), record_key(answer)))
    if reply is None:
        return record
    return replace(
        record,
        judge=judge.read_conclusion(reply.reply, reply.truncated, answer.options),
        judge_reply=reply.reply,
    )


def _read(lines: LineFormat[KeyT, RecordT], file: Path) -> list[RecordT]:
    """All whole lines; none when there is no file.  A torn last line is that of a run that has not ended."""
    if not file.exists():
        return []
    content = read_file(file, MOST_BYTES, "`sbr analyze consistency` writes it")
    return lines.parse(content[: content.rfind(b"\n") + 1], file)
