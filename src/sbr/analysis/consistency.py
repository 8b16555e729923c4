"""analyse_consistency(run, recipe): likelihoods and a judge's replies for the chosen answers of one evaluation.

RUN/consistency holds recipe.json (settings; the judge and the number of questions may change), inputs.json (what was
evaluated, and with which weights), consistency.jsonl (rule and likelihoods) and judge.jsonl (replies).  The two
journals grow independently: a judge that is named later is asked, and nothing else is done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from sbr.analysis import judge
from sbr.analysis.choose import choose_by_hash
from sbr.analysis.consistency_folder import joined
from sbr.analysis.consistency_records import JUDGE, LINES, RECORDS, ConsistencyRecord, consistency_folder
from sbr.analysis.evaluated import EvaluatedRun
from sbr.analysis.judge import JudgeKey, JudgeReply
from sbr.analysis.likelihoods import measured
from sbr.config.asking import EngineConfig
from sbr.config.consistency import ConsistencyRecipe, JudgeConfig
from sbr.config.load import read_resolved
from sbr.data.sources.select import SOURCES
from sbr.eval.records import RecordKey, record_key, records_file
from sbr.model.load import model_files
from sbr.resume.folder import RECIPE, Work, check_folder, fingerprints, start_folder
from sbr.resume.journal import Journal
from sbr.resume.lock import locked
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.chat_window import ChatRequest, replies
from sbr.rollout.open import engine_kind
from sbr.rollout.sampling import Sampling
from sbr.types import EvalRecord, Sample

WORK = Work(
    "an analysis of consistency",
    "place for it (move this folder away)",
    may_change=frozenset(
        {"per_level", "judge", "judge.model", "judge.max_new_tokens"}
        | {f"judge.engine.{key}" for key in EngineConfig.model_fields}
    ),
)


class Watcher(Protocol):
    """Whoever wants to see progress."""

    def began(self, what: str, done: int, total: int) -> None: ...

    def did(self, new: int) -> None: ...


def analyse_consistency(
    run: EvaluatedRun, recipe: ConsistencyRecipe, watcher: Watcher | None = None
) -> list[ConsistencyRecord]:
    """Do what is missing in RUN/consistency; all records of the chosen answers, with what the judge said.

    Without a judge in `recipe`, that of the last run stays, but is not asked.  Nothing is written before the model is
    loaded and the judge's server was found.

    Raises BusyError when another run writes into the folder, ConfigError when it belongs to another evaluation,
    MediaError on an unreadable video or image, EndpointError when the judge cannot be asked, DataError and
    CheckpointError for everything else on disk.
    """
    folder = consistency_folder(run.folder)
    samples = run.questions()
    inputs = fingerprints(_files(run))
    check_folder(folder, recipe, inputs, WORK)
    asked_now, recipe = recipe.judge, _with_last_judge(recipe, folder)
    by_key = {record_key(record): record for record in run.records}
    chosen = choose_by_hash(list(by_key), recipe.per_level)
    with locked(folder), ExitStack() as on:
        check_folder(folder, recipe, inputs, WORK)
        records = on.enter_context(Journal(folder / RECORDS, LINES))
        said = on.enter_context(Journal(folder / JUDGE, judge.LINES))
        judged = [by_key[key] for key in chosen if judge.needs_judge(by_key[key])]
        chat = _open_judge(asked_now, judged, said, on)
        new = measured(run, samples, chosen, records.done.keys())
        start_folder(folder, recipe, inputs)
        if watcher:
            watcher.began("answers", sum(key in records.done for key in chosen), len(chosen))
        for part in new:
            records.append(part)
            if watcher:
                watcher.did(len(part))
        if asked_now is not None and chat is not None:
            _ask_judge(chat, asked_now, samples, judged, said, watcher)
        return joined(run.records, records.done, said.done, recipe, folder)


def _with_last_judge(recipe: ConsistencyRecipe, folder: Path) -> ConsistencyRecipe:
    if recipe.judge is not None or not (folder / RECIPE).is_file():
        return recipe
    return recipe.model_copy(update={"judge": read_resolved(ConsistencyRecipe, folder / RECIPE).judge})


def _files(run: EvaluatedRun) -> dict[str, Path]:
    """What decides the records, by names for messages."""
    data, levels = run.recipe.data, dict.fromkeys(record.level for record in run.records)
    annotations = [name for level in levels for name in SOURCES[data.source].levels[level]]
    of_model = model_files(run.recipe.model.path) if engine_kind(run.recipe.engine).local else {}
    evaluated = (records_file(run.folder), run.folder / RECIPE)
    return {
        **{f"evaluation/{file.name}": file for file in evaluated},
        **{name: data.root / name for name in annotations},
        **of_model,
    }


def _open_judge(
    config: JudgeConfig | None, judged: Sequence[EvalRecord], said: Journal[JudgeKey, JudgeReply], on: ExitStack
) -> ChatClient | None:
    """A client that `on` closes; none when nothing is to be asked."""
    if config is None or not _open(config, judged, said):
        return None
    return on.enter_context(ChatClient(config.engine, config.model))


def _open(config: JudgeConfig, judged: Sequence[EvalRecord], said: Journal[JudgeKey, JudgeReply]) -> list[EvalRecord]:
    """Those that have no reply yet."""
    asked = judge.asked_of(config)
    return [answer for answer in judged if JudgeKey(asked, record_key(answer)) not in said.done]


def _ask_judge(
    chat: ChatClient,
    config: JudgeConfig,
    samples: dict[RecordKey, Sample],
    judged: Sequence[EvalRecord],
    said: Journal[JudgeKey, JudgeReply],
    watcher: Watcher | None,
) -> None:
    """Ask about every answer without a reply; each reply is on the disk before another is waited for."""
    asked, to_ask = judge.asked_of(config), _open(config, judged, said)
    sampling = Sampling(temperature=0.0, max_new_tokens=config.max_new_tokens)
    requests = (
        ChatRequest(key, judge.judge_messages(samples[key], answer), seed=0)
        for answer in to_ask
        if (key := record_key(answer))
    )
    if watcher:
        watcher.began("judged", len(judged) - len(to_ask), len(judged))
    with closing(replies(chat, requests, sampling)) as lists:
        for arrived in lists:
            said.append(
                [JudgeReply(asked, *_place(key), config.model, reply.text, reply.truncated) for key, reply in arrived]
            )
            if watcher:
                watcher.did(len(arrived))
    chat.log_answers()


def _place(key: RecordKey) -> tuple[str, str, int, int]:
    """In the order of JudgeReply's fields."""
    return key.sample_id, key.level, key.sample_index, key.rotation
