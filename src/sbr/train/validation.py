"""Looks at a model while it learns: the loss on held-out responses, and how many questions it answers right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from accelerate.utils import gather_object

from sbr.config.recipes import TrainRecipe
from sbr.data.sources.cot import CotQuestion
from sbr.data.sources.select import choose_levels, load_questions
from sbr.frames.ahead import ShownT, frames_ahead
from sbr.frames.cache import FrameCache
from sbr.frames.load import load_frames
from sbr.model.logprobs import completion_logprobs
from sbr.model.modes import evaluating
from sbr.prompt.encode import PromptEncoder
from sbr.reward.answer import extract_answer
from sbr.rollout.ask import answers
from sbr.rollout.native_engine import NativeEngine
from sbr.rollout.sampling import Sampling
from sbr.train.trainer import Trainer
from sbr.types import Sample


@dataclass(frozen=True, slots=True)
class Seen:
    """One look; empty when there was none.  Example: Seen(held_out_loss=0.41, accuracy={"L1": 0.83, "L3": 0.49})."""

    held_out_loss: float | None = None
    """Mean negative log-likelihood of the held-out responses, nats a token."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Share of right greedy answers, by level."""


class Validation:
    """What `recipe.validation` asks for.  Nothing here depends on or changes the random state of training.

    `held_out` are questions whose responses are measured.  Raises ConfigError and DataError, before training, when a
    level cannot be read.
    """

    def __init__(self, recipe: TrainRecipe, cache: FrameCache | None, held_out: Sequence[CotQuestion] = ()) -> None:
        self._config = recipe.validation
        self._frames = recipe.frames
        self._cache = cache
        self._held_out = held_out
        levels = choose_levels(recipe.data, self._config.levels) if self._config.levels else ()
        self._samples = {level: load_questions(recipe.data, level, self._config.questions) for level in levels}

    def due(self, step: int, total: int) -> bool:
        return step % self._config.every == 0 or step == total

    def look(self, trainer: Trainer, encoder: PromptEncoder) -> Seen:
        """Every process takes its share and has to call this."""
        with torch.no_grad(), trainer.whole() as model, trainer.accelerator.autocast(), evaluating(model):
            losses = list(self._losses(trainer, encoder))
            right = {level: list(self._right(trainer, encoder, samples)) for level, samples in self._samples.items()}
        accuracy = {level: _mean(parts) for level, parts in right.items()}
        return Seen(_mean(losses) if self._held_out else None, accuracy)

    def _losses(self, trainer: Trainer, encoder: PromptEncoder) -> Iterator[tuple[float, int]]:
        """(sum over the response tokens, their number) of this process's held-out questions."""
        load = partial(load_frames, config=self._frames, factor=encoder.size_factor, cache=self._cache)
        with closing(frames_ahead(self._batches(trainer, self._held_out), load)) as decoded:
            for asked in decoded:
                prompts = [encoder.encode_question(question, frames) for question, frames in asked]
                responses_P = [encoder.encode_responses(question) for question, _ in asked]
                found = completion_logprobs(trainer.asked, prompts, responses_P)
                yield -found.logprobs_BL.sum().item(), int(found.mask_BL.sum())

    def _right(
        self, trainer: Trainer, encoder: PromptEncoder, samples: Sequence[Sample]
    ) -> Iterator[tuple[float, int]]:
        """(right answers, questions) of this process's share, asked as an evaluation asks."""
        greedy = Sampling(temperature=0.0, max_new_tokens=self._config.max_new_tokens)
        engine = NativeEngine(trainer.asked, encoder)
        batches = self._batches(trainer, samples)
        with closing(answers(engine, batches, self._frames, self._cache, 1, greedy, seed=0)) as answered:
            for found in answered:
                pairs = [(of_one.question.sample, of_one.replies[0].text) for of_one in found]
                right = [extract_answer(text, s.options, self._config.rule).letter == s.gold for s, text in pairs]
                yield float(sum(right)), len(right)

    def _batches(self, trainer: Trainer, asked: Sequence[ShownT]) -> list[Sequence[ShownT]]:
        own = asked[trainer.accelerator.process_index :: trainer.accelerator.num_processes]
        size = self._config.batch_size
        return [own[start : start + size] for start in range(0, len(own), size)]


def _mean(parts: list[tuple[float, int]]) -> float:
    """The quotient of the sums over the parts of all processes, all of which have to call this."""
    everything: list[tuple[float, int]] = gather_object(parts)
    return sum(value for value, _ in everything) / sum(count for _, count in everything)
