"""RUN/attention: the attention of chosen answers of a finished evaluation, resumable as the evaluation itself."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sbr.analysis.attention import AttentionMeter, Looked
from sbr.analysis.attention_records import LINES, MAPS, RECORDS, AttentionRecord, attention_folder
from sbr.analysis.attention_sample import QuestionId, first_answers
from sbr.analysis.evaluated import EvaluatedRun
from sbr.config.attention import AttentionConfig, AttentionRecipe
from sbr.errors import ConfigError, DataError
from sbr.eval.records import RECORDS as ANSWERS
from sbr.eval.records import RecordKey, record_key
from sbr.files import replace_file
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import open_cache
from sbr.frames.load import load_frames
from sbr.model.load import load_model, load_processor, model_files
from sbr.model.paths import BUILT_IN, resolve_model_path
from sbr.prompt.encode import PromptEncoder
from sbr.resume.folder import Work, check_folder, fingerprints, start_folder
from sbr.resume.journal import Journal
from sbr.resume.lock import locked
from sbr.rollout.open import engine_kind
from sbr.types import EvalRecord

_log = logging.getLogger(__name__)

WORK = Work(
    "an attention analysis",
    "evaluation (or delete this folder)",
    frozenset({"data.root", "attention.per_level"}),
)
BATCH = 4
"""Questions whose frames are decoded together."""

Progress = Callable[[int], None]
"""Told how many of the questions are done."""


def check_run(run: EvaluatedRun) -> None:
    """Raise ConfigError for an evaluation that cannot be looked into, CheckpointError when its model is not here."""
    model = run.recipe.model.path
    if run.recipe.data.subtitles:
        raise ConfigError(
            f"{run.folder} showed frames as single pictures between subtitles (data.subtitles); attention is recorded "
            "for one video and one image: evaluate without subtitles"
        )
    if not engine_kind(run.recipe.engine).local:
        if model not in BUILT_IN and not Path(model).is_dir():
            raise ConfigError(
                f"{run.folder} was answered by a server, by its model {model!r}, which is no folder here; attention is "
                "recorded in this process: evaluate a local copy of the model with the native engine"
            )
        _log.info("%s was answered by a server, whose chat template may differ from that of %s", run.folder, model)
    resolve_model_path(model)


def look_into(run: EvaluatedRun, questions: Sequence[QuestionId], config: AttentionConfig, progress: Progress) -> None:
    """Record the attention of the first answer to each of `questions`, in order, as far as it is not yet recorded.

    Raises BusyError when another process writes the folder, ConfigError when it was begun with other settings, answers
    or weights, CheckpointError for a model that is not here, MediaError and DataError for damaged files.
    """
    recipe = AttentionRecipe(
        model=run.recipe.model,
        data=run.recipe.data,
        frames=run.recipe.frames,
        prompt=run.recipe.prompt,
        control=run.recipe.eval.control,
        attention=config,
    )
    folder, answers = attention_folder(run.folder), first_answers(run)
    inputs = fingerprints({ANSWERS: run.folder / ANSWERS, **model_files(recipe.model.path)})
    check_folder(folder, recipe, inputs, WORK)
    with locked(folder):
        check_folder(folder, recipe, inputs, WORK)
        with Journal(folder / RECORDS, LINES) as journal:
            _check_maps(run, journal)
            wanted = [answers[question] for question in questions]
            missing = [record for record in wanted if record_key(record) not in journal.done]
            progress(len(wanted) - len(missing))
            if not missing:
                return
            with closing(_looked(run, missing, config)) as found:
                next(found)  # opens the model, so that what it refuses is refused before anything is written
                start_folder(folder, recipe, inputs)
                for number, looked in enumerate(found, start=len(wanted) - len(missing) + 1):
                    assert looked is not None
                    replace_file(folder / MAPS / looked.record.maps, _packed(looked))
                    journal.append([looked.record])
                    progress(number)


def _looked(
    run: EvaluatedRun, records: Sequence[EvalRecord], config: AttentionConfig
) -> Generator[Looked | None, None, None]:
    """None when the model is ready, then each record's attention."""
    samples, recipe = run.questions(), run.recipe
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = PromptEncoder(load_processor(recipe.model.path), recipe.prompt)
    meter = AttentionMeter(load_model(recipe.model, device).eval(), encoder, config)
    asked = [samples[record_key(record)] for record in records]
    batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
    load = partial(load_frames, config=recipe.frames, factor=encoder.size_factor, cache=open_cache(recipe.data))
    same_prompt = engine_kind(recipe.engine).local
    yield None
    left = iter(records)
    with closing(frames_ahead(batches, load)) as decoded:
        for sample, frames in (shown for batch in decoded for shown in batch):
            yield meter.look(next(left), sample, frames, same_prompt)


def _packed(looked: Looked) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, tokens_NV=looked.tokens_NV, general_V=looked.general_V)
    return content.getvalue()


def _check_maps(run: EvaluatedRun, journal: Journal[RecordKey, AttentionRecord]) -> None:
    folder = attention_folder(run.folder)
    for record in journal.done.values():
        if not (file := folder / MAPS / record.maps).is_file():
            raise DataError(
                f"{file} is missing, the maps of question {record.sample_id} of {record.level}; delete {folder} and "
                "run the same command again"
            )
