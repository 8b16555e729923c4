"""Which questions are looked at: a sample that is the same for all runs, or those that someone has picked.

The questions of a level are drawn in the order of `sbr.analysis.choose.drawing_place`.  Of several answers to a
question the first is taken: sample 0, the options in the order of the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sbr.analysis.attention_records import RECORDS, AttentionRecord, attention_folder, read_attention, read_maps
from sbr.analysis.attention_shares import AttentionSummary, QuestionId, attention_summary
from sbr.analysis.choose import drawing_place
from sbr.analysis.evaluated import EvaluatedRun
from sbr.errors import DataError
from sbr.files import read_file
from sbr.types import EvalRecord

MOST_CASES_BYTES = 1 << 30


def first_answers(run: EvaluatedRun) -> dict[QuestionId, EvalRecord]:
    """The answer to each question that is looked at."""
    return {(r.level, r.sample_id): r for r in run.records if r.sample_index == 0 and r.rotation == 0}


def drawing_order(runs: Sequence[EvaluatedRun]) -> dict[str, list[QuestionId]]:
    """The questions that all runs have answered, of each level in the order in which they are drawn."""
    shared = set.intersection(*(set(first_answers(run)) for run in runs))
    ordered = sorted(shared, key=lambda question: (question[0], *drawing_place(*question)))
    levels = dict.fromkeys(record.level for record in runs[0].records)
    return {level: found for level in levels if (found := [question for question in ordered if question[0] == level])}


def draw(runs: Sequence[EvaluatedRun], per_level: int | None) -> list[QuestionId]:
    """The first `per_level` questions of each level, or as many as there are; None: all."""
    return [question for ordered in drawing_order(runs).values() for question in ordered[:per_level]]


def read_cases(file: Path) -> list[QuestionId]:
    """The questions of a file of cases (`sbr analyze cases`), in order: every line an object with level and sample_id.

    Raises DataError with file:line.
    """
    found: dict[QuestionId, None] = {}
    content = read_file(file, MOST_CASES_BYTES, "`sbr analyze cases` writes one")
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}:{number}: not JSON: {error}; give a file of `sbr analyze cases`") from None
        level, sample_id = (values.get(key) if isinstance(values, dict) else None for key in ("level", "sample_id"))
        if not (isinstance(level, str) and isinstance(sample_id, str)):
            raise DataError(
                f"{file}:{number}: expected an object with the texts level and sample_id; give a file of "
                "`sbr analyze cases`"
            )
        found[level, sample_id] = None
    if not found:
        raise DataError(f"{file} holds no cases; give a file of `sbr analyze cases`")
    return list(found)


def drawn_sample(
    runs: Sequence[EvaluatedRun], recorded: Mapping[str, Iterable[AttentionRecord]]
) -> frozenset[QuestionId]:
    """The largest sample whose attention every run has: what was picked by hand is in it only where it was drawn too.

    `recorded` is what `read_attention` gives for each run, by its name.
    """
    have = [{(record.level, record.sample_id) for record in recorded[run.name]} for run in runs]
    sample: set[QuestionId] = set()
    for ordered in drawing_order(runs).values():
        missing = (place for place, question in enumerate(ordered) if not all(question in of_run for of_run in have))
        sample.update(ordered[: next(missing, len(ordered))])
    return frozenset(sample)


def summarize_attention(runs: Sequence[EvaluatedRun], only: Iterable[QuestionId] | None = None) -> AttentionSummary:
    """The figures of `runs` on their largest common sample, or on the questions `only`.

    Raises DataError when a run has no attention or the runs have no such question in common.
    """
    recorded = {run.name: read_attention(run.folder) for run in runs}
    chosen = drawn_sample(runs, recorded) if only is None else frozenset(only)
    if not chosen:
        raise DataError(
            f"{', '.join(str(attention_folder(run.folder)) for run in runs)} have no drawn questions in common, only "
            "picked ones; run `sbr analyze attention` on all of these runs together, without --cases"
        )
    folders = {run.name: run.folder for run in runs}
    return attention_summary(
        {name: [r for r in records if (r.level, r.sample_id) in chosen] for name, records in recorded.items()},
        lambda name, record: read_maps(folders[name], record)[0],
        {question: record.video_id for run in runs for question, record in first_answers(run).items()},
    )


def has_attention(run: EvaluatedRun) -> bool:
    """Whether `sbr analyze attention` has begun with it."""
    return (attention_folder(run.folder) / RECORDS).is_file()
