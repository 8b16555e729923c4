"""evaluate(recipe): ask a model every question of the chosen levels, resumably.

Batches are cut from the whole list of questions before looking at what is already answered, and a batch that was only
partly written is answered again as a whole.  So an interrupted and continued run gives the answers of an uninterrupted
one, although batch mates touch the last digits of the arithmetic.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sbr.config import EvalConfig, EvalRecipe
from sbr.data.sources import SOURCES, choose_levels, load_questions
from sbr.errors import ConfigError, DataError
from sbr.eval.folder import RECORDS, SUMMARY, open_folder
from sbr.eval.records import RecordFile, RecordKey
from sbr.eval.summary import Summary, summarize, write_summary
from sbr.frames.ahead import frames_ahead
from sbr.frames.load import load_frames
from sbr.model.load import model_files
from sbr.resume.folder import fingerprint
from sbr.reward.answer import extract_answer
from sbr.rollout.engine import Answered, Question, Reply, open_engine, question_seed
from sbr.rollout.sampling import Sampling
from sbr.types import EvalRecord, Frames, Sample

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions of one level that are answered together."""

    level: str
    samples: tuple[Sample, ...]


def evaluate(recipe: EvalRecipe) -> Summary:
    """Answer what is not yet answered in `recipe.output_dir`, then write summary.json and return its content.

    Raises ConfigError when the folder belongs to other settings, MediaError on the first unreadable video or image (it
    names the file; nothing is left out or replaced), DataError and CheckpointError for everything else on disk.
    """
    levels = choose_levels(recipe.data, recipe.eval.levels)
    recipe = recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"levels": levels})})
    _check(recipe.eval)
    batches = cut_batches(recipe)
    open_folder(recipe, _inputs(recipe))
    indices = range(recipe.eval.samples)
    asked = {RecordKey(batch.level, s.sample_id, i) for batch in batches for s in batch.samples for i in indices}
    with RecordFile(recipe.output_dir / RECORDS) as records:
        if strange := records.done.keys() - asked:
            raise DataError(f"{records.file} answers {min(strange)}, which was not asked; choose another --out")
        if records.done:
            _log.info("%d of %d answers are already in %s", len(records.done), len(asked), records.file)
        open_batches = [batch for batch in batches if _missing(batch, recipe, records)]
        if open_batches:
            _answer(open_batches, recipe, records, len(asked))
        summary = summarize(list(records.done.values()), recipe)
    write_summary(summary, recipe.output_dir / SUMMARY)
    return summary


def cut_batches(recipe: EvalRecipe) -> list[Batch]:
    """All questions of the recipe, cut into batches of one level each.  The same for every run of the recipe."""
    batches: list[Batch] = []
    for level in recipe.eval.levels:
        samples = load_questions(recipe.data, level, recipe.eval.limit)
        if len({sample.sample_id for sample in samples}) < len(samples):
            ids = [sample.sample_id for sample in samples]
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"{level} has the sample_id {twice} twice; records could not be told apart")
        size = recipe.eval.batch_size
        batches += [Batch(level, tuple(samples[at : at + size])) for at in range(0, len(samples), size)]
    return batches


def sampling_of(config: EvalConfig) -> Sampling:
    """greedy: the most likely token.  paper: temperature 1 over the whole vocabulary (official infer.py)."""
    temperature = 0.0 if config.protocol == "greedy" else 1.0
    return Sampling(temperature=temperature, top_p=1.0, top_k=0, max_new_tokens=config.max_new_tokens)


def _answer(batches: Sequence[Batch], recipe: EvalRecipe, records: RecordFile, total: int) -> None:
    with (
        open_engine(recipe.model, recipe.prompt, recipe.engine, recipe.eval.compile) as engine,
        _progress() as progress,
        closing(_decoded(batches, recipe, engine.size_factor)) as decoded,
    ):
        task = progress.add_task("", total=total, completed=len(records.done), accuracy="")
        level = batches[0].level

        def asked() -> Iterator[list[Question]]:
            nonlocal level
            for batch, pairs in zip(batches, decoded, strict=True):
                level = batch.level
                _show(progress, task, level, records)
                yield [_question(level, sample, frames, recipe.eval, records) for sample, frames in pairs]

        for answered in engine.answer(asked(), recipe.eval.samples, sampling_of(recipe.eval)):
            new = [
                _record(of_one, index, reply, recipe.eval)
                for of_one in answered
                for index, reply in of_one.replies.items()
                if index not in of_one.question.known
            ]
            records.append(new)
            _show(progress, task, level, records)


def _decoded(
    batches: Sequence[Batch], recipe: EvalRecipe, factor: int
) -> Generator[list[tuple[Sample, Frames]], None, None]:
    load = partial(load_frames, config=recipe.frames, factor=factor)
    return frames_ahead((batch.samples for batch in batches), load)


def _question(level: str, sample: Sample, frames: Frames, config: EvalConfig, records: RecordFile) -> Question:
    known = frozenset(i for i in range(config.samples) if RecordKey(level, sample.sample_id, i) in records.done)
    return Question(sample, frames, question_seed(config.seed, level, sample.sample_id), known)


def _record(answered: Answered, index: int, reply: Reply, config: EvalConfig) -> EvalRecord:
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
    )


def _check(config: EvalConfig) -> None:
    if config.protocol == "greedy" and config.samples != 1:
        raise ConfigError(
            f"eval.samples is {config.samples}, but the greedy protocol always gives the same answer; "
            "leave samples at 1, or use --protocol paper"
        )


def _inputs(recipe: EvalRecipe) -> dict[str, str]:
    """Fingerprints of the model folder (a hub name has none), of an adapter's base, and of the annotation files.

    The weights behind an endpoint are not here: its address and the name of the model stand for them.
    """
    if recipe.engine.kind == "endpoint":
        known, files = {"endpoint": f"{recipe.model.path} at {recipe.engine.url}"}, {}
    else:
        known, files = {}, model_files(recipe.model.path)
    for level in recipe.eval.levels:
        files |= {name: recipe.data.root / name for name in SOURCES[recipe.data.source].levels[level]}
    return known | {name: fingerprint(file) for name, file in files.items()}


def _missing(batch: Batch, recipe: EvalRecipe, records: RecordFile) -> bool:
    keys = (RecordKey(batch.level, s.sample_id, i) for s in batch.samples for i in range(recipe.eval.samples))
    return any(key not in records.done for key in keys)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[accuracy]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _show(progress: Progress, task: TaskID, level: str, records: RecordFile) -> None:
    of_level = [record.correct for record in records.done.values() if record.level == level]
    accuracy = f"{level} {100 * sum(of_level) / len(of_level):.1f} % right" if of_level else ""
    progress.update(task, completed=len(records.done), description=f"Asking {level}", accuracy=accuracy)
