"""The stages of a step on one process: frames -> prompts -> rollouts -> scores.  The update lies in update.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from torch import Tensor

from sbr.config.inputs import FramesConfig
from sbr.config.training import RewardConfig, RolloutConfig
from sbr.frames.cache import FrameCache
from sbr.frames.load import load_frames
from sbr.prompt.encode import PromptEncoder
from sbr.reward.health import health
from sbr.reward.score import score
from sbr.rollout.generate import Sampling, generate
from sbr.train.grpo.collect import Collected, ScoredGroup
from sbr.train.grpo.metrics import CompletionRecord
from sbr.train.order import Slot
from sbr.train.setup import Trainer
from sbr.types import Frames, Prompt, RolloutGroup, Sample, Shown


class FramePrefetcher:
    """Decodes the videos of the next step in threads while the current step computes.

    Sizes are multiples of `factor` pixels (`PromptEncoder.size_factor`).  What lies in `cache` is read instead.  At
    most two steps of frames are held in memory.  A video that cannot be read raises its MediaError from `take`.
    """

    def __init__(self, config: FramesConfig, factor: int, cache: FrameCache | None = None) -> None:
        self._load = partial(load_frames, config=config, factor=factor, cache=cache)
        self._threads = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="frames")
        self._waiting: list[Future[Frames]] = []

    def __enter__(self) -> FramePrefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def request(self, samples: Sequence[Shown]) -> None:
        """Start decoding; the next `take` returns these frames."""
        self._waiting = [self._threads.submit(self._load, sample) for sample in samples]

    def take(self) -> list[Frames]:
        """Wait for the requested frames and return them in order."""
        return [future.result() for future in self._waiting]

    def load(self, samples: Sequence[Shown]) -> list[Frames]:
        """Decode now, beside what was requested."""
        waiting = [self._threads.submit(self._load, sample) for sample in samples]
        return [future.result() for future in waiting]


def encode_prompts(
    encoder: PromptEncoder, slots: Sequence[Slot[Sample]], frames: Sequence[Frames]
) -> tuple[Prompt, ...]:
    """Return the model inputs of the slots, in order."""
    return tuple(encoder.encode(slot.sample, pictures) for slot, pictures in zip(slots, frames, strict=True))


def roll_out(
    trainer: Trainer, tokenizer: Any, slots: Sequence[Slot[Sample]], prompts: Sequence[Prompt], config: RolloutConfig
) -> tuple[RolloutGroup, ...]:
    """Sample `config.group_size` completions of each prompt, with the seeds of the slots."""
    sampling = Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_new_tokens,
    )
    with trainer.accelerator.autocast():
        groups = generate(
            trainer.model,
            tokenizer,
            prompts,
            config.group_size,
            sampling,
            [slot.seed for slot in slots],
            compiled=config.compile,
        )
    return tuple(
        RolloutGroup(slot.sample, prompt, completions)
        for slot, prompt, completions in zip(slots, prompts, groups, strict=True)
    )


def score_groups(
    slots: Sequence[Slot[Sample]], groups: Sequence[RolloutGroup], config: RewardConfig, max_new_tokens: int
) -> tuple[ScoredGroup, ...]:
    """Return the groups with the score of every completion, in their order."""
    return tuple(
        ScoredGroup(
            slot,
            group,
            tuple(
                score(completion.text, group.sample, config, len(completion.token_ids), max_new_tokens)
                for completion in group.completions
            ),
        )
        for slot, group in zip(slots, groups, strict=True)
    )


def completion_records(step: int, collected: Collected, bonus_PG: Tensor) -> tuple[CompletionRecord, ...]:
    """Return one record per completion; `bonus_PG` belongs to `collected.batch`."""
    none = [0.0] * bonus_PG.shape[1]
    kept = [(found, bonus_G, False) for found, bonus_G in zip(collected.batch, bonus_PG.tolist(), strict=True)]
    return tuple(
        CompletionRecord(
            step=step,
            slot=found.slot.index,
            round=found.slot.round,
            replaced=replaced,
            index=index,
            sample_id=found.slot.sample.sample_id,
            response=completion.text,
            extracted=scored.answer.letter,
            gold=found.slot.sample.gold,
            rewarded=scored.rewarded,
            reward=scored.reward + bonus,
            accuracy=scored.accuracy,
            format=scored.format,
            consistency=scored.consistency,
            consistency_reason=scored.consistency_reason,
            length=scored.length,
            bonus=bonus,
            echo=health(completion.text).echo,
            reason=scored.answer.reason,
            tokens=len(completion.token_ids),
            truncated=completion.truncated,
            custom=scored.custom,
        )
        for found, bonus_G, replaced in [*kept, *((found, none, True) for found in collected.replaced)]
        for index, (completion, scored, bonus) in enumerate(
            zip(found.group.completions, found.scores_G, bonus_G, strict=True)
        )
    )
