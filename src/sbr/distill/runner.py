"""distill(recipe): ask the teacher every training question several times, resumably; keep what is right.

Answers are journalled as they come (samples.jsonl).  Only when all are there are they judged and written in the order
of the questions, so the result does not depend on interruptions or on the order in which a server answered, and other
filters can be tried on a finished folder without asking again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Protocol

from sbr.config.asking import DistillConfig
from sbr.config.recipes import DistillRecipe
from sbr.data.rows.layout import DataRoot
from sbr.distill.report import REPORT, Report, report_of, write_report
from sbr.distill.rows import COT_FILE, Asked, load_asked, write_cot_file
from sbr.distill.samples import LINES, SAMPLES, SampleKey, TeacherSample
from sbr.distill.select import judge
from sbr.errors import ConfigError, DataError
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import open_cache
from sbr.frames.load import load_frames
from sbr.model.load import model_files
from sbr.resume.folder import fingerprint, open_output_folder
from sbr.resume.journal import Journal
from sbr.rollout.engine import Answered, Question, open_engine, question_seed
from sbr.rollout.sampling import Sampling
from sbr.types import Sample

FILTERS = ("rule", "consistent", "min_words", "max_words", "distinct", "keep")
MAY_CHANGE = frozenset({f"distill.{name}" for name in FILTERS} | {"data.limit", "engine.url"})
"""Keys that may differ when a folder is continued: they change no answer, only which are asked for and kept."""


class Watcher(Protocol):
    """Told how far the asking is."""

    def began(self, answers: int, total: int) -> None: ...

    def answered(self, answers: int, judged: int, kept: int) -> None:
        """`kept` of the `judged` answers to questions whose answers are all there."""
        ...


def distill(recipe: DistillRecipe, watcher: Watcher) -> Report:
    """Ask what is not yet answered in `recipe.output_dir`, then write the rows and the report and return the latter.

    Raises ConfigError when the folder belongs to other settings, MediaError on the first unreadable video or image,
    EndpointError when the server cannot be asked, DataError and CheckpointError for everything else on disk.
    """
    config = recipe.distill
    sampling = _sampling(config)
    asked = load_asked(recipe)
    _open_folder(recipe)
    folder = recipe.output_dir
    with Journal(folder / SAMPLES, LINES) as journal:
        _refuse_strangers(journal, asked)
        tally = _Tally(asked, config)
        tally.add(list(journal.done.values()))
        watcher.began(tally.answers, len(asked) * config.samples)
        if batches := _open_batches(asked, recipe, tally):
            for new in _ask(batches, recipe, sampling, tally):
                journal.append(new)
                tally.add(new)
                watcher.answered(tally.answers, tally.judged, tally.kept)
        judged = [sample for answers in tally.by_question.values() for sample in judge(answers, config)]
        # Answers to questions beyond a lowered data.limit stay for later.
        others = [replace(s, extracted=None, verdict=None) for s in journal.done.values() if tally.passes(s)]
        journal.rewrite([*judged, *others])
    write_cot_file(folder / COT_FILE, asked, judged, recipe)
    report = report_of([question.sample for question in asked], judged, recipe)
    write_report(report, folder / REPORT)
    return report


class _Tally:
    """Answers by question, with running counts over the questions that have all of theirs."""

    def __init__(self, asked: Sequence[Asked], config: DistillConfig) -> None:
        self._config = config
        self.by_question: dict[str, list[TeacherSample]] = {question.sample.sample_id: [] for question in asked}
        self.answers = self.judged = self.kept = 0

    def add(self, new: Sequence[TeacherSample]) -> None:
        """Answers to other questions are passed over."""
        for sample in new:
            if self.passes(sample):
                continue
            answers = self.by_question[sample.sample_id]
            answers.append(sample)
            self.answers += 1
            if len(answers) == self._config.samples:
                self.judged += len(answers)
                self.kept += sum(answer.verdict == "kept" for answer in judge(answers, self._config))

    def passes(self, sample: TeacherSample) -> bool:
        return sample.sample_id not in self.by_question

    def known(self, sample: Sample) -> frozenset[int]:
        return frozenset(answer.sample_index for answer in self.by_question[sample.sample_id])

    def is_open(self, sample: Sample) -> bool:
        return len(self.by_question[sample.sample_id]) < self._config.samples


def _ask(
    batches: Sequence[Sequence[Sample]], recipe: DistillRecipe, sampling: Sampling, tally: _Tally
) -> Iterator[list[TeacherSample]]:
    """New answers, each list to be stored before the next is asked for."""
    cache = open_cache(recipe.data)
    with open_engine(recipe.model, recipe.prompt, recipe.engine) as engine:
        load = partial(load_frames, config=recipe.frames, factor=engine.size_factor, cache=cache)
        with closing(frames_ahead(batches, load)) as decoded:
            questions = (
                [Question(s, frames, _seed(recipe.distill, s), tally.known(s)) for s, frames in batch]
                for batch in decoded
            )
            for answered in engine.answer(questions, recipe.distill.samples, sampling):
                yield [sample for one in answered for sample in _new_samples(one)]
    if cache is not None:
        cache.log_counts()


def _new_samples(answered: Answered) -> Iterator[TeacherSample]:
    question = answered.question
    for index, reply in sorted(answered.replies.items()):
        if index not in question.known:
            yield TeacherSample(
                sample_id=question.sample.sample_id,
                sample_index=index,
                prompt=answered.prompt,
                options=question.sample.options,
                gold=question.sample.gold,
                response=reply.text,
                completion_tokens=reply.tokens,
                truncated=reply.truncated,
                seconds=answered.seconds,
            )


def _open_batches(asked: Sequence[Asked], recipe: DistillRecipe, tally: _Tally) -> list[list[Sample]]:
    """The batches with a question that lacks an answer; cut from all questions, so they are the same in every run."""
    size = recipe.distill.batch_size
    samples = [question.sample for question in asked]
    batches = [samples[at : at + size] for at in range(0, len(samples), size)]
    if recipe.engine.kind == "endpoint":  # a server makes its own batches: finished questions need not be sent again
        return [[sample] for batch in batches for sample in batch if tally.is_open(sample)]
    return [batch for batch in batches if any(tally.is_open(sample) for sample in batch)]


def _seed(config: DistillConfig, sample: Sample) -> int:
    return question_seed(config.seed, sample.split, sample.sample_id)


def _sampling(config: DistillConfig) -> Sampling:
    if config.temperature == 0 and config.samples > 1:
        raise ConfigError(
            f"distill.temperature is 0 and distill.samples {config.samples}: all answers to a question would be the "
            "same; raise the temperature, or ask for one"
        )
    return Sampling(config.temperature, config.top_p, config.top_k, config.max_new_tokens)


def _open_folder(recipe: DistillRecipe) -> None:
    files = {} if recipe.engine.kind == "endpoint" else model_files(recipe.model.path)
    files |= {recipe.data.train_file: DataRoot(recipe.data.root).annotation_file(recipe.data.train_file)}
    inputs = {name: fingerprint(file) for name, file in files.items()}
    open_output_folder(recipe.output_dir, recipe, inputs, SAMPLES, "a distillation", "--output_dir", MAY_CHANGE)


def _refuse_strangers(journal: Journal[SampleKey, TeacherSample], asked: Sequence[Asked]) -> None:
    """Stop when an answer was given to a question that reads otherwise now (the draw of options may have changed)."""
    now = {question.sample.sample_id: question.sample for question in asked}
    for key, answer in journal.done.items():
        sample = now.get(key.sample_id)
        if sample is not None and (answer.options, answer.gold) != (sample.options, sample.gold):
            raise DataError(
                f"{journal.file}: question {key.sample_id} was asked with the options {answer.options}, and now it has "
                f"{sample.options}; choose another --output_dir"
            )
