"""records.jsonl: one EvalRecord a line (`sbr.resume.journal`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast, get_args

from sbr.config.asking import EvalConfig
from sbr.config.section import Rule
from sbr.errors import DataError
from sbr.files import read_file
from sbr.resume.folder import RECIPE
from sbr.resume.journal import MOST_BYTES, LineFormat, Wrong
from sbr.resume.rank_files import rank_files
from sbr.reward.answer import extract_answer
from sbr.rollout.engine import Answered, Reply
from sbr.types import LETTERS, EvalRecord, Sample

RECORDS = "records.jsonl"
SUMMARY = "summary.json"
"""Written when all questions are answered (eval.summary)."""


class RecordKey(NamedTuple):
    """What one record answers; unique in a file.  Example: RecordKey("L1", "115", sample_index=0, rotation=0)."""

    level: str
    sample_id: str
    sample_index: int
    rotation: int = 0


def record_key(record: EvalRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)


def key_of_answer(sample: Sample, index: int) -> RecordKey:
    """Of the answer with this index to `sample`."""
    return RecordKey(sample.split, sample.sample_id, index, sample.rotation)


def record_of(config: EvalConfig, answered: Answered, index: int, reply: Reply) -> EvalRecord:
    """The answer with this index as it is written down, read by `config.rule`."""
    sample = answered.question.sample
    answer = extract_answer(reply.text, sample.options, config.rule)
    return EvalRecord(
        sample_id=sample.sample_id,
        level=sample.split,
        domain=sample.domain,
        sample_index=index,
        prompt=answered.prompt,
        options=sample.options,
        response=reply.text,
        extracted=answer.letter,
        gold=sample.gold,
        correct=answer.letter == sample.gold,
        rule=answer.rule,
        completion_tokens=reply.tokens,
        truncated=reply.truncated,
        seconds=answered.seconds,
        video_id=sample.video_id,
        scenario=sample.scenario,
        groups=sample.groups,
        control=config.control,
        rotation=sample.rotation,
    )


def _name(key: RecordKey) -> str:
    rotated = f", options rotated by {key.rotation}" if key.rotation else ""
    return f"question {key.sample_id} of {key.level} (sample {key.sample_index}{rotated})"


def _wrong(record: EvalRecord) -> Wrong | None:
    """What does not follow from the response, the options, the rule and the right letter."""
    letters, rules = LETTERS[: len(record.options)], get_args(Rule)
    if record.gold not in tuple(letters):
        return Wrong("gold", f"one of {', '.join(letters)}", repr(record.gold))
    if record.rule not in rules:
        return Wrong("rule", f"one of {', '.join(rules)}", repr(record.rule))
    letter = extract_answer(record.response, record.options, cast(Rule, record.rule)).letter
    if record.extracted != letter:
        return Wrong("extracted", f"{letter!r}, which the rule {record.rule} reads", repr(record.extracted))
    right = letter == record.gold
    if record.correct != right:
        return Wrong("correct", f"{right}, for {letter!r} was read and {record.gold!r} is right", repr(record.correct))
    return None


LINES = LineFormat(EvalRecord, record_key, _name, _wrong)


def record_line(record: EvalRecord) -> str:
    """The record as one line of JSON, line feed included (`LineFormat.line`)."""
    return LINES.line(record)


def records_file(path: Path) -> Path:
    """The records of `path`: itself, or records.jsonl in it when it is the folder of an evaluation.

    Raises DataError when the evaluation is not finished: several processes have not yet put their answers together, or
    there is a recipe and no summary.  A folder with nothing but records is taken as it is.
    """
    if not path.is_dir():
        return path
    if parts := rank_files(path / RECORDS):
        raise DataError(
            f"{parts[0]} holds answers that are not yet in {RECORDS}; the evaluation is running or was interrupted: "
            "run the same `sbr eval` again (the number of processes may differ)"
        )
    if (path / RECIPE).exists() and (path / RECORDS).exists() and not (path / SUMMARY).exists():
        raise DataError(
            f"{path} holds no {SUMMARY}; the evaluation is running or was interrupted: run the same `sbr eval` again, "
            f"or give {path / RECORDS} to use the answers that are there"
        )
    return path / RECORDS


def read_records(file: Path) -> list[EvalRecord]:
    """All records of a finished or interrupted run, in the order of the file.

    Raises DataError on a missing file or one that is none, and with file:line on a line that is no record (the torn
    last line of a run that was killed, too: run it again first, it cuts the line off) and on a question that is
    answered twice.
    """
    content = read_file(file, MOST_BYTES, "`sbr eval` writes records into its output folder")
    if not content:
        raise DataError(f"{file} holds no records: nothing was asked")
    if not content.endswith(b"\n"):
        line = content.count(b"\n") + 1
        raise DataError(f"{file}:{line}: the last line is torn; run the same `sbr eval` again, it continues there")
    return LINES.parse(content, file)


def correct_by_question(records: Sequence[EvalRecord]) -> list[list[list[bool]]]:
    """correct_QRK: is the answer right?  Questions in order of first appearance, rotations of the options, samples.

    There is one rotation, or, when the options were rotated, as many as the question has options.  Raises DataError
    when a question lacks some of its rotations or of the samples 0 .. k-1.
    """
    rows: dict[tuple[str, str], dict[tuple[int, int], bool]] = {}
    options: dict[tuple[str, str], int] = {}
    for record in records:
        question = (record.level, record.sample_id)
        rows.setdefault(question, {})[record.rotation, record.sample_index] = record.correct
        options[question] = len(record.options)
    rotated = any(record.rotation for record in records)
    samples = len({index for _, index in next(iter(rows.values()))})
    for (level, sample_id), row in rows.items():
        rotations = options[level, sample_id] if rotated else 1
        wanted = {(rotation, index) for rotation in range(rotations) for index in range(samples)}
        if row.keys() != wanted:
            found = f"the samples {sorted({index for _, index in row})}, expected 0 to {samples - 1}"
            if rotated:
                found = f"{len(row)} answers, expected {rotations} rotations with the samples 0 to {samples - 1}"
            raise DataError(
                f"question {sample_id} of {level} has {found}; run the same `sbr eval` again to complete the records"
            )
    return [
        [[row[rotation, index] for index in range(samples)] for rotation in range(len(row) // samples)]
        for row in rows.values()
    ]
