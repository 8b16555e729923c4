"""Answers of one evaluation -> ConsistencyRecords: the rule, and what the model thinks of each letter after its own,
cut, no and another reasoning."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby, islice

import torch

from sbr.analysis.consistency_records import ConsistencyRecord, consistency_key
from sbr.analysis.evaluated import EvaluatedRun
from sbr.analysis.letter_probabilities import LetterProbabilities, letter_probabilities
from sbr.analysis.variants import ELSEWHERE, Donor, Parts, donors, first_half, parts_of
from sbr.errors import CheckpointError
from sbr.eval.records import RecordKey, record_key
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import open_cache
from sbr.frames.load import load_frames
from sbr.model.families import VisionLanguageModel
from sbr.model.load import load_model, load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.reward.consistency import consistency
from sbr.rollout.open import engine_kind
from sbr.types import LETTERS, Answer, EvalRecord, Sample

ANSWERS_AT_ONCE = 8
"""To one question (samples), in one pass, whose memory is that of a GRPO group of 32 completions without gradient."""
_AHEAD = 8
"""Questions whose frames are decoded before their turn."""


def measured(
    run: EvaluatedRun, samples: dict[RecordKey, Sample], chosen: Sequence[RecordKey], known: Set[RecordKey]
) -> Iterator[list[ConsistencyRecord]]:
    """The records of those `chosen` answers that are not `known`, each list to be stored before the next is asked for.

    The model is loaded when this returns, on the GPU if there is one.  Answers of a model behind a server, and those
    that cannot be taken apart, get the rule only, and the reason.
    """
    batches = [batch for batch in _batches(chosen) if not known >= set(batch)]
    by_key = {record_key(record): record for record in run.records}
    if not batches:
        return iter(())
    if not engine_kind(run.recipe.engine).local:
        of_rule = (by_key[key] for batch in batches for key in batch if key not in known)
        return ([_unmeasured(record, ELSEWHERE)] for record in of_rule)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = PromptEncoder(load_processor(run.recipe.model.path), run.recipe.prompt)
    model = load_model(run.recipe.model, device).eval()
    return _passes(run, model, encoder, samples, [[by_key[key] for key in batch] for batch in batches], known)


def _batches(chosen: Sequence[RecordKey]) -> list[list[RecordKey]]:
    """The samples of one question in one rotation, `ANSWERS_AT_ONCE` at most: what they are does not depend on what is
    already there, so a continued run gives the same figures."""
    batches: list[list[RecordKey]] = []
    for _, keys in groupby(chosen, key=lambda key: (key.level, key.sample_id, key.rotation)):
        of_question = list(keys)
        batches += [of_question[at : at + ANSWERS_AT_ONCE] for at in range(0, len(of_question), ANSWERS_AT_ONCE)]
    return batches


def _passes(
    run: EvaluatedRun,
    model: VisionLanguageModel,
    encoder: PromptEncoder,
    samples: dict[RecordKey, Sample],
    batches: Sequence[Sequence[EvalRecord]],
    known: Set[RecordKey],
) -> Generator[list[ConsistencyRecord], None, None]:
    special = encoder.tokenizer.all_special_tokens
    given = donors(run.records, special)
    parts = [[parts_of(record, special) for record in batch] for batch in batches]
    shown = [
        [samples[record_key(batch[0])]]
        for batch, parts_A in zip(batches, parts, strict=True)
        if any(isinstance(part, Parts) for part in parts_A)
    ]
    cache = open_cache(run.recipe.data)
    load = partial(load_frames, config=run.recipe.frames, factor=encoder.size_factor, cache=cache)
    with closing(frames_ahead(shown, load, _AHEAD)) as decoded:
        for batch, parts_A in zip(batches, parts, strict=True):
            donors_A = [given.get(record_key(record)) for record in batch]
            texts_A = [_texts(part, donor) for part, donor in zip(parts_A, donors_A, strict=True)]
            found: Iterator[LetterProbabilities] = iter(())
            if beginnings := [text for texts in texts_A for text in texts]:
                ((sample, frames),) = next(decoded)
                prompt, letters = encoder.encode(sample, frames), LETTERS[: len(sample.options)]
                found = iter(letter_probabilities(model, encoder.tokenizer, prompt, beginnings, letters))
            records = [
                _unmeasured(record, part) if isinstance(part, str) else _measured(record, list(islice(found, n)), donor)
                for record, part, donor, n in zip(batch, parts_A, donors_A, map(len, texts_A), strict=True)
            ]
            yield [record for record in records if consistency_key(record) not in known]
    if cache is not None:
        cache.log_counts()


def _texts(parts: Parts | str, donor: Donor | None) -> list[str]:
    """What stands before the letter: after own, no and cut reasoning, and after another's where there is one."""
    if isinstance(parts, str):
        return []
    reasonings = [parts.reasoning, "", first_half(parts.reasoning), *([donor.reasoning] if donor else [])]
    return [parts.after(reasoning) for reasoning in reasonings]


def _unmeasured(record: EvalRecord, reason: str) -> ConsistencyRecord:
    by_rule = consistency(record.response, Answer(record.extracted, record.rule, ""), record.options)
    return ConsistencyRecord(
        sample_id=record.sample_id,
        level=record.level,
        sample_index=record.sample_index,
        rotation=record.rotation,
        answer=record.extracted,
        correct=record.correct,
        rule=by_rule.value,
        rule_reason=by_rule.reason,
        likelihood_reason=reason,
        video_id=record.video_id,
    )


def _measured(record: EvalRecord, found: Sequence[LetterProbabilities], donor: Donor | None) -> ConsistencyRecord:
    if not all(math.isfinite(probability) for of_text in found for probability in of_text.letters):
        raise CheckpointError(
            f"the model gives logits that are not finite after question {record.sample_id} of {record.level}: its "
            "training diverged or its weights overflow in their dtype; analyse an earlier checkpoint"
        )
    own, empty, cut = found[:3]
    return replace(
        _unmeasured(record, ""),
        own=own.letters,
        empty=empty.letters,
        cut=cut.letters,
        other=found[3].letters if donor else None,
        other_sample_id=donor.sample_id if donor else None,
        other_same_video=donor is not None and donor.same_video,
        other_names_answer=donor is not None and donor.names_answer,
        letter_shares=tuple(of_text.share for of_text in found),
    )
