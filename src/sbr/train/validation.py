"""Looks at a model while it learns: the loss on held-out responses, and how many questions it answers right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Answered:
    """One look at one set of questions, one line of validation.jsonl; the keys on disk are these field names.

    Example: Answered(20, "L1", "official", 256, ("115", "116"), ("B", "A"), ("B", None)): one of two is right.
    """

    step: int
    """0 before the first one."""
    set: str
    """The level, or "held_out"."""
    rule: str
    max_new_tokens: int
    sample_ids: tuple[str, ...]
    golds: tuple[str, ...]
    """What they are compared with: wrong ones too where the training golds are (reward.noise)."""
    letters: tuple[str | None, ...]
    """As read from the greedy answers; None where nothing could be read."""

    @property
    def right(self) -> tuple[bool, ...]:
        return tuple(letter == gold for letter, gold in zip(self.letters, self.golds, strict=True))


@dataclass(frozen=True, slots=True)
class Seen:
    """One look; empty when there was none.  Example: Seen(held_out_loss=0.41, accuracy={"L1": 0.83, "L3": 0.49})."""

    held_out_loss: float | None = None
    """Mean negative log-likelihood of the held-out responses, nats a token."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Share of right greedy answers, by level."""
    answered: tuple[Answered, ...] = ()
    """What `accuracy` is the mean of."""


class Validation:
    """What `recipe.validation` asks for.  Nothing here depends on or changes the random state of training.

    `held_out` are questions whose responses are measured, `held_out_samples` such that are asked like a level.  Raises
    ConfigError and DataError, before training, when a level cannot be read.
    """

    def __init__(
        self,
        recipe: TrainRecipe,
        cache: FrameCache | None,
        held_out: Sequence[CotQuestion] = (),
        held_out_samples: Sequence[Sample] = (),
    ) -> None:
        self._config = recipe.validation
        self._frames = recipe.frames
        self._cache = cache
        self._held_out = held_out
        levels = choose_levels(recipe.data, self._config.levels) if self._config.levels else ()
        sets = {level: load_questions(recipe.data, level, self._config.questions) for level in levels}
        self.sets: Mapping[str, Sequence[Sample]] = sets | ({HELD_OUT: held_out_samples} if held_out_samples else {})
        """The questions that are asked, in order."""

    def due(self, step: int, total: int) -> bool:
        return step % self._config.every == 0 or step == total

    def look(self, trainer: Trainer, encoder: PromptEncoder, step: int) -> Seen:
        """After `step`.  Every process takes its share and has to call this; all get the same."""
        with torch.no_grad(), trainer.whole() as model, trainer.accelerator.autocast(), evaluating(model):
            losses = list(self._losses(trainer, encoder))
            letters = {name: self._letters(trainer, encoder, samples) for name, samples in self.sets.items()}
        answered = tuple(self.answered(step, name, letters[name]) for name in self.sets)
        accuracy = {found.set: sum(found.right) / len(found.right) for found in answered}
        return Seen(_mean(losses) if self._held_out else None, accuracy, answered)

    def answered(self, step: int, name: str, letters: Sequence[str | None]) -> Answered:
        """`letters` as the record of a look at the set `name`."""
        config, samples = self._config, self.sets[name]
        ids, golds = tuple(sample.sample_id for sample in samples), tuple(sample.gold for sample in samples)
        return Answered(step, name, config.rule, config.max_new_tokens, ids, golds, tuple(letters))

    def _losses(self, trainer: Trainer, encoder: PromptEncoder) -> Iterator[tuple[float, int]]:
        """(sum over the response tokens, their number) of this process's held-out questions."""
        load = partial(load_frames, config=self._frames, factor=encoder.size_factor, cache=self._cache)
        with closing(frames_ahead(self._batches(trainer, self._held_out), load)) as decoded:
            for asked in decoded:
                prompts = [encoder.encode_question(question, frames) for question, frames in asked]
                responses_P = [encoder.encode_responses(question) for question, _ in asked]
                found = completion_logprobs(trainer.asked, prompts, responses_P)
                yield -found.logprobs_BL.sum().item(), int(found.mask_BL.sum())

    def _letters(self, trainer: Trainer, encoder: PromptEncoder, samples: Sequence[Sample]) -> list[str | None]:
        """What is answered to all `samples`, asked as an evaluation asks; each process asks its share."""
        greedy = Sampling(temperature=0.0, max_new_tokens=self._config.max_new_tokens)
        engine = NativeEngine(trainer.asked, encoder)
        batches = self._batches(trainer, samples)
        own: list[str | None] = []
        with closing(answers(engine, batches, self._frames, self._cache, 1, greedy, seed=0)) as answered:
            for found in answered:
                pairs = [(of_one.question.sample.options, of_one.replies[0].text) for of_one in found]
                own += [extract_answer(text, options, self._config.rule).letter for options, text in pairs]
        letters: list[str | None] = [None] * len(samples)
        shares: list[list[str | None]] = gather_object([own])
        for process, share in enumerate(shares):
            letters[process :: len(shares)] = share
        return letters

    def _batches(self, trainer: Trainer, asked: Sequence[ShownT]) -> list[Sequence[ShownT]]:
        own = asked[trainer.accelerator.process_index :: trainer.accelerator.num_processes]
        size = self._config.batch_size
        return [own[start : start + size] for start in range(0, len(own), size)]


def _mean(parts: list[tuple[float, int]]) -> float:
    """The quotient of the sums over the parts of all processes, all of which have to call this."""
    everything: list[tuple[float, int]] = gather_object(parts)
    return sum(value for value, _ in everything) / sum(count for _, count in everything)
