"""evaluate(recipe): ask a model every question of the chosen levels, resumably.

Batches are cut from the whole list of questions before looking at what is already answered, and a batch that was only
partly written is answered again as a whole.  So an interrupted and continued run gives the answers of an uninterrupted
one, although batch mates touch the last digits of the arithmetic.  Several processes share the open batches and write a
file each; the answers of all are put together in the order of the questions when the last one is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sbr.config.asking import EvalConfig
from sbr.config.recipes import EvalRecipe
from sbr.data.sources.select import SOURCES, choose_levels, load_questions
from sbr.errors import ConfigError, DataError
from sbr.eval.controls import controlled
from sbr.eval.folder import RECORDS, SUMMARY, open_folder
from sbr.eval.processes import ALONE, Processes
from sbr.eval.rank_records import LineCount, collect_parts, part_file
from sbr.eval.records import RecordFile, RecordKey
from sbr.eval.summary import Summary, summarize, write_summary
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import FrameCache, open_cache
from sbr.frames.load import load_frames
from sbr.model.load import model_files
from sbr.resume.folder import RECIPE, fingerprint
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


def evaluate(recipe: EvalRecipe, processes: Processes = ALONE) -> Summary:
    """Answer what is not yet answered in `recipe.output_dir`, then write summary.json and return its content.

    With several `processes`, each calls this function and answers its share of the open batches; all return the same.
    Raises ConfigError when the folder belongs to other settings, MediaError on the first unreadable video or image (it
    names the file; nothing is left out or replaced), DataError and CheckpointError for everything else on disk.
    """
    levels = choose_levels(recipe.data, recipe.eval.levels)
    recipe = recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"levels": levels})})
    _check(recipe, processes)
    batches = cut_batches(recipe)
    if processes.rank == 0:
        return _lead(recipe, batches, processes)
    done: set[RecordKey] = processes.from_first(None)
    if not (recipe.output_dir / RECIPE).exists():
        raise ConfigError(
            f"process {processes.rank} does not see the {RECIPE} that process 0 has written into {recipe.output_dir}; "
            "choose a folder that all machines share"
        )
    open_batches = _still_open(batches, done, recipe.eval)
    with RecordFile(part_file(recipe.output_dir, processes.rank)) as records:
        _answer(processes.share(open_batches), recipe, done, records, _no_show)
    processes.wait()
    return processes.from_first(None)


def _lead(recipe: EvalRecipe, batches: Sequence[Batch], processes: Processes) -> Summary:
    """The part of rank 0: what is answered, its own share, and everything put together in the order of `batches`."""
    folder = recipe.output_dir
    inputs = _inputs(recipe)
    open_folder(recipe, inputs)
    asked = [key for batch in batches for key in _keys(batch, recipe.eval)]
    with RecordFile(folder / RECORDS) as records:
        open_folder(recipe, inputs)  # again, behind the lock: another first launch may have come in between
        collect_parts(records)
        if strange := records.done.keys() - set(asked):
            raise DataError(f"{records.file} answers {min(strange)}, which was not asked; choose another --out")
        if records.done:
            _log.info("%d of %d answers are already in %s", len(records.done), len(asked), records.file)
        done = processes.from_first(set(records.done))
        if open_batches := _still_open(batches, done, recipe.eval):
            with _Bar(records, len(asked)) as bar:
                _answer(processes.share(open_batches), recipe, done, records, bar.show)
                processes.wait(bar.show)
        else:
            processes.wait()
        collect_parts(records)
        if missing := [key for key in asked if key not in records.done]:
            raise DataError(
                f"{len(missing)} of {len(asked)} answers of other processes are not in {folder} (e.g. {missing[0]}); "
                "choose a folder that all machines share, or run the same command again: it asks what is missing"
            )
        in_order = [records.done[key] for key in asked]
        if list(records.done) != asked:
            records.rewrite(in_order)
        summary = summarize(in_order, recipe)
        write_summary(summary, folder / SUMMARY)
    return processes.from_first(summary)


def cut_batches(recipe: EvalRecipe) -> list[Batch]:
    """All questions of the recipe, cut into batches of one level each.  The same for every run of the recipe."""
    batches: list[Batch] = []
    for level in recipe.eval.levels:
        samples = load_questions(recipe.data, level, recipe.eval.limit)
        if len({sample.sample_id for sample in samples}) < len(samples):
            ids = [sample.sample_id for sample in samples]
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"{level} has the sample_id {twice} twice; records could not be told apart")
        samples = controlled(samples, recipe.eval)
        size = recipe.eval.batch_size
        batches += [Batch(level, tuple(samples[at : at + size])) for at in range(0, len(samples), size)]
    return batches


def sampling_of(config: EvalConfig) -> Sampling:
    """greedy: the most likely token.  paper: temperature 1 over the whole vocabulary (official infer.py)."""
    temperature = 0.0 if config.protocol == "greedy" else 1.0
    return Sampling(temperature=temperature, top_p=1.0, top_k=0, max_new_tokens=config.max_new_tokens)


def _answer(
    batches: Sequence[Batch],
    recipe: EvalRecipe,
    known: Set[RecordKey],
    records: RecordFile,
    show: Callable[[str], None],
) -> None:
    """Ask `batches` and append the answers that are not in `known`; `show` is called with the level at hand."""
    if not batches:
        return
    cache = open_cache(recipe.data)
    with (
        open_engine(recipe.model, recipe.prompt, recipe.engine, recipe.eval.compile) as engine,
        closing(_decoded(batches, recipe, engine.size_factor, cache)) as decoded,
    ):
        level = batches[0].level

        def asked() -> Iterator[list[Question]]:
            nonlocal level
            for batch, pairs in zip(batches, decoded, strict=True):
                level = batch.level
                show(level)
                yield [_question(sample, frames, recipe.eval, known) for sample, frames in pairs]

        for answered in engine.answer(asked(), recipe.eval.samples, sampling_of(recipe.eval)):
            new = [
                _record(of_one, index, reply, recipe.eval)
                for of_one in answered
                for index, reply in of_one.replies.items()
                if index not in of_one.question.known
            ]
            records.append(new)
            show(level)
    if cache is not None:
        cache.log_counts()


def _decoded(
    batches: Sequence[Batch], recipe: EvalRecipe, factor: int, cache: FrameCache | None
) -> Generator[list[tuple[Sample, Frames]], None, None]:
    load = partial(load_frames, config=recipe.frames, factor=factor, cache=cache)
    return frames_ahead((batch.samples for batch in batches), load)


def _question(sample: Sample, frames: Frames, config: EvalConfig, done: Set[RecordKey]) -> Question:
    known = frozenset(index for index in range(config.samples) if _key(sample, index) in done)
    return Question(sample, frames, question_seed(config.seed, sample.split, sample.sample_id, sample.rotation), known)


def _record(answered: Answered, index: int, reply: Reply, config: EvalConfig) -> EvalRecord:
    sample = answered.question.sample
    # A server can send half a surrogate pair, which no file can hold; what is read is what is saved.
    response = reply.text.encode("utf-8", "replace").decode("utf-8")
    answer = extract_answer(response, sample.options, config.rule)
    return EvalRecord(
        sample_id=sample.sample_id,
        level=sample.split,
        domain=sample.domain,
        sample_index=index,
        prompt=answered.prompt,
        options=sample.options,
        response=response,
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


def _check(recipe: EvalRecipe, processes: Processes) -> None:
    if recipe.eval.protocol == "greedy" and recipe.eval.samples != 1:
        raise ConfigError(
            f"eval.samples is {recipe.eval.samples}, but the greedy protocol always gives the same answer; "
            "leave samples at 1, or use --protocol paper"
        )
    if recipe.engine.kind == "vllm" and processes.count > 1:
        raise ConfigError(
            f"engine.kind is 'vllm' in {processes.count} processes, but vLLM starts processes of its own; "
            "start `sbr eval` once and set engine.tensor_parallel"
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


def _still_open(batches: Sequence[Batch], done: Set[RecordKey], config: EvalConfig) -> list[Batch]:
    return [batch for batch in batches if not done >= set(_keys(batch, config))]


def _keys(batch: Batch, config: EvalConfig) -> Iterator[RecordKey]:
    """Of all answers to a batch."""
    return (_key(sample, index) for sample in batch.samples for index in range(config.samples))


def _key(sample: Sample, index: int) -> RecordKey:
    return RecordKey(sample.split, sample.sample_id, index, sample.rotation)


class _Bar:
    """The progress bar of rank 0; it counts the answers of all processes."""

    def __init__(self, records: RecordFile, total: int) -> None:
        self._records = records
        self._parts = LineCount(records.file.parent)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[accuracy]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total, completed=len(records.done), accuracy="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, level: str | None = None) -> None:
        """`level`: the one at hand; None while other processes finish."""
        of_level = [record.correct for record in self._records.done.values() if record.level == level]
        accuracy = f"{level} {100 * sum(of_level) / len(of_level):.1f} % right" if of_level else ""
        self._progress.update(
            self._task,
            completed=len(self._records.done) + self._parts.read(),
            description="Waiting for the other processes" if level is None else f"Asking {level}",
            accuracy=accuracy,
        )


def _no_show(_: str) -> None:
    """Only rank 0 has a progress bar."""
