"""The one way to ask: questions with their frames go to an engine, and every answer is on disk before the next is due.

Batches are cut from all questions before looking at what is already answered, and a batch that was only partly
written is answered again as a whole (but for engines that ask for answers one by one).  So an interrupted and
continued run gives the answers of an uninterrupted one, although batch mates touch the last digits of the arithmetic.
Several processes share the open batches and write a file each; rank 0 puts the files together when all are there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sbr.config.inputs import FramesConfig
from sbr.config.named import source_files
from sbr.config.recipes import AskingRecipe
from sbr.errors import ConfigError, DataError
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import FrameCache, open_cache
from sbr.frames.load import load_frames
from sbr.model.load import model_files
from sbr.resume.folder import RECIPE, Work, check_folder, fingerprints, start_folder
from sbr.resume.journal import Journal, LineFormat
from sbr.resume.lock import locked
from sbr.resume.processes import ALONE, Processes
from sbr.resume.rank_files import LineCount, collect, rank_file
from sbr.rollout.budget import check_budget
from sbr.rollout.engine import Answered, Engine, Question, Reply, question_seed
from sbr.rollout.open import engine_kind, open_engine
from sbr.rollout.sampling import Sampling
from sbr.types import Sample

_log = logging.getLogger(__name__)


class Recorded(Protocol):
    """A record that says what was asked."""

    @property
    def options(self) -> tuple[str, ...]: ...
    @property
    def gold(self) -> str: ...


KeyT = TypeVar("KeyT")
RecordT = TypeVar("RecordT", bound=Recorded)
ShownT = TypeVar("ShownT", contravariant=True)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Asking(Generic[KeyT, RecordT]):
    """All that one run asks, and how an answer becomes a line of its journal."""

    work: Work
    section: str
    """Of the recipe, which says how much is asked: "eval"; for messages."""
    recipe: AskingRecipe
    batches: Sequence[Sequence[Sample]]
    """All questions, the same in every run of the recipe; those of one batch are answered together."""
    samples: int
    """Answers to each question."""
    sampling: Sampling
    seed: int
    inputs: Mapping[str, Path]
    """The files that decide what is asked, by names for messages; those of the model come to them."""
    journal: str
    """Name of the file in `recipe.output_dir`."""
    lines: LineFormat[KeyT, RecordT]
    key: Callable[[Sample, int], KeyT]
    """Of the answer with this index to the question."""
    record: Callable[[Answered, int, Reply], RecordT]
    compiled: bool = False
    """`eval.compile`, of the native engine."""
    keeps_others: bool = False
    """Answers to questions that are not asked now (of a lowered limit) are kept; otherwise they are an error."""

    @property
    def file(self) -> Path:
        return self.recipe.output_dir / self.journal

    def keys(self, batch: Sequence[Sample]) -> list[KeyT]:
        """Of all answers to a batch, in order."""
        return [self.key(sample, index) for sample in batch for index in range(self.samples)]


class Watcher(Protocol[ShownT]):
    """Whoever wants to see progress, e.g. the bar of the command line.  Called on rank 0 only."""

    def began(self, done: Sequence[ShownT], total: int) -> None:
        """Of `total` answers those in `done` are there."""

    def answered(self, new: Sequence[ShownT], others: int) -> None:
        """`new` answers are on disk; the other processes have given `others` since the run began."""

    def waits(self, others: int) -> None:
        """This process has no more to ask; called again and again until the others are done."""


def ask(
    asking: Asking[KeyT, RecordT],
    finish: Callable[[Journal[KeyT, RecordT], list[RecordT]], ResultT],
    watcher: Watcher[RecordT] | None = None,
    processes: Processes = ALONE,
) -> ResultT:
    """Ask what is not yet answered in the output folder; the result of `finish`, on all processes.

    `finish` gets the journal and all answers in the order of the questions, while the folder is still held.  With
    several `processes`, each calls this function and answers its share of the open batches.  Nothing is written before
    the model is loaded or the server was found.

    Raises BusyError when another run writes into the folder, ConfigError when it belongs to other settings, MediaError
    on the first unreadable video or image (it names the file; nothing is left out or replaced), EndpointError when a
    server cannot be asked, DataError and CheckpointError for everything else on disk.
    """
    if processes.rank > 0:
        _follow(asking, processes)
        return processes.from_first(None)
    recipe = asking.recipe
    check_budget(asking.section, asking.batches, asking.samples, asking.sampling.max_new_tokens, recipe.frames)
    of_model = model_files(recipe.model.path) if engine_kind(recipe.engine).local else {}
    own_engine = source_files([("engine.kind", recipe.engine.kind)] if ":" in recipe.engine.kind else [])
    inputs = fingerprints({**of_model, **asking.inputs, **own_engine})
    check_folder(recipe.output_dir, recipe, inputs, asking.work)
    with locked(recipe.output_dir):
        check_folder(recipe.output_dir, recipe, inputs, asking.work)  # another first launch may have come in between
        with Journal(asking.file, asking.lines) as journal:
            collect(journal)
            _lead(asking, journal, inputs, watcher, processes)
            collect(journal)
            result = finish(journal, _in_order(asking, journal))
    return processes.from_first(result)


def answers(
    engine: Engine,
    batches: Iterable[Sequence[Sample]],
    frames: FramesConfig,
    cache: FrameCache | None,
    samples: int,
    sampling: Sampling,
    seed: int,
    known: Callable[[Sample], frozenset[int]] = lambda _: frozenset(),
) -> Generator[list[Answered], None, None]:
    """What `engine` gives for `batches`, whose frames are decoded ahead: see `Engine.answer`.

    `known` tells the indices of the answers to a question that exist already.
    """
    load = partial(load_frames, config=frames, factor=engine.size_factor, cache=cache)
    with closing(frames_ahead(batches, load)) as decoded:
        questions = (
            [
                Question(s, pictures, question_seed(seed, s.split, s.sample_id, s.rotation), known(s))
                for s, pictures in b
            ]
            for b in decoded
        )
        yield from engine.answer(questions, samples, sampling)


def _lead(
    asking: Asking[KeyT, RecordT],
    journal: Journal[KeyT, RecordT],
    inputs: Mapping[str, str],
    watcher: Watcher[RecordT] | None,
    processes: Processes,
) -> None:
    """The part of rank 0: what is answered, its own share, and waiting for the others."""
    asked = _asked(asking, journal)
    done = [journal.done[key] for key in asked if key in journal.done]
    if done:
        _log.info("%d of %d answers are already in %s", len(done), len(asked), journal.file)
    known = processes.from_first(set(journal.done))
    others = LineCount(journal.file)
    with _new_records(asking, known, processes) as asking_now:
        start_folder(asking.recipe.output_dir, asking.recipe, inputs)
        processes.wait()
        if watcher:
            watcher.began(done, len(asked))
        for new in asking_now:
            journal.append(new)
            if watcher:
                watcher.answered(new, others.read())
    processes.wait(lambda: watcher.waits(others.read()) if watcher else None)


def _follow(asking: Asking[KeyT, RecordT], processes: Processes) -> None:
    """The part of every other rank: its share, into a file of its own."""
    known: set[KeyT] = processes.from_first(None)
    folder = asking.recipe.output_dir
    with _new_records(asking, known, processes) as asking_now:
        processes.wait()
        if not (folder / RECIPE).exists():
            raise ConfigError(
                f"process {processes.rank} does not see the {RECIPE} that process 0 has written into {folder}; "
                "choose a folder that all machines share"
            )
        with Journal(rank_file(asking.file, processes.rank), asking.lines) as journal:
            for new in asking_now:
                journal.append(new)
    processes.wait()


@contextmanager
def _new_records(
    asking: Asking[KeyT, RecordT], known: Set[KeyT], processes: Processes
) -> Iterator[Iterable[list[RecordT]]]:
    """This process's share of the answers that are not in `known`, each list to be stored before the next is asked for.

    Entering opens the engine, so that what it refuses is refused before anything is written.
    """
    recipe = asking.recipe
    own = processes.share([batch for batch in asking.batches if not known >= set(asking.keys(batch))])
    if not own:
        yield ()
        return

    def known_of(sample: Sample) -> frozenset[int]:
        return frozenset(index for index in range(asking.samples) if asking.key(sample, index) in known)

    def records(engine: Engine) -> Generator[list[RecordT], None, None]:
        batches = own
        if engine.one_by_one:  # finished questions need not be decoded
            batches = [[sample for sample in batch if len(known_of(sample)) < asking.samples] for batch in own]
        asked = (asking.samples, asking.sampling, asking.seed)
        for answered in answers(engine, batches, recipe.frames, cache, *asked, known_of):
            yield [
                asking.record(of_one, index, reply)
                for of_one in answered
                for index, reply in sorted(of_one.replies.items())
                if index not in of_one.question.known
            ]

    cache = open_cache(recipe.data)
    with (
        open_engine(recipe.model, recipe.prompt, recipe.engine, asking.compiled) as engine,
        closing(records(engine)) as found,
    ):
        yield found
    if cache is not None:
        cache.log_counts()


def _asked(asking: Asking[KeyT, RecordT], journal: Journal[KeyT, RecordT]) -> dict[KeyT, Sample]:
    """The question of every answer that is asked for, in order.  Raises DataError when two questions cannot be told
    apart, or when the journal holds answers to other questions."""
    asked: dict[KeyT, Sample] = {}
    for sample in (sample for batch in asking.batches for sample in batch):
        for key in asking.keys([sample]):
            if key in asked:
                raise DataError(f"{asking.lines.name(key)} is asked twice; give every question a sample_id of its own")
            asked[key] = sample
    for key, record in journal.done.items():
        sample = asked.get(key)
        if sample is None and not asking.keeps_others:
            name = asking.lines.name(key)
            raise DataError(f"{journal.file} answers {name}, which was not asked; choose another {asking.work.flag}")
        if sample is not None and (record.options, record.gold) != (sample.options, sample.gold):
            raise DataError(
                f"{journal.file}: {asking.lines.name(key)} was asked with the options {record.options} and the right "
                f"answer {record.gold}, and now it has {sample.options} and {sample.gold}; choose another "
                f"{asking.work.flag}"
            )
    return asked


def _in_order(asking: Asking[KeyT, RecordT], journal: Journal[KeyT, RecordT]) -> list[RecordT]:
    """All answers in the order of the questions.  Raises DataError when some are missing."""
    asked = [key for batch in asking.batches for key in asking.keys(batch)]
    if missing := [key for key in asked if key not in journal.done]:
        raise DataError(
            f"{len(missing)} of {len(asked)} answers of other processes are not in {journal.file.parent} (the first is "
            f"{asking.lines.name(missing[0])}); choose a folder that all machines share, or run the same command "
            "again: it asks what is missing"
        )
    return [journal.done[key] for key in asked]
