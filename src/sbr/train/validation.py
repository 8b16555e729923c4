"""Looks at a model while it learns: the loss on held-out responses, and how many questions it answers right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

import torch
from accelerate.utils import gather_object

from sbr.config.recipes import SftRecipe
from sbr.data.sources.cot import CotQuestion
from sbr.data.sources.select import choose_levels, load_questions
from sbr.frames.ahead import ShownT, frames_ahead
from sbr.frames.cache import FrameCache
from sbr.frames.load import load_frames
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder
from sbr.reward.answer import extract_answer
from sbr.rollout.generate import Sampling, generate
from sbr.train.setup import Trainer
from sbr.types import Frames, Sample


class Validation:
    """What `recipe.validation` asks for.  Nothing here depends on or changes the random state of training.

    Raises ConfigError and DataError, before training, when the level cannot be read.
    """

    def __init__(self, recipe: SftRecipe, held_out: Sequence[CotQuestion], cache: FrameCache | None) -> None:
        self._recipe = recipe
        self._held_out = held_out
        self._cache = cache
        self._samples: Sequence[Sample] = ()
        if recipe.validation.level is not None:
            (level,) = choose_levels(recipe.data, [recipe.validation.level])
            self._samples = load_questions(recipe.data, level, recipe.validation.questions)

    def look(self, trainer: Trainer, encoder: PromptEncoder) -> tuple[float | None, float | None]:
        """Return (loss on the held-out responses in nats a token, accuracy), None for what is not asked for.

        Every process takes its share and has to call this.
        """
        trainer.policy.eval()
        with torch.no_grad(), trainer.accelerator.autocast():
            loss = self._share(trainer, encoder, self._held_out, self._loss)
            right = self._share(trainer, encoder, self._samples, self._right)
        return loss, right

    def _share(
        self,
        trainer: Trainer,
        encoder: PromptEncoder,
        asked: Sequence[ShownT],
        measure: Callable[[Trainer, PromptEncoder, Sequence[tuple[ShownT, Frames]]], tuple[float, int]],
    ) -> float | None:
        """The quotient of the sums of what `measure` finds in every batch of every process."""
        if not asked:
            return None
        own = asked[trainer.accelerator.process_index :: trainer.accelerator.num_processes]
        size = self._recipe.validation.batch_size
        batches = [own[start : start + size] for start in range(0, len(own), size)]
        load = partial(load_frames, config=self._recipe.frames, factor=encoder.size_factor, cache=self._cache)
        with closing(frames_ahead(batches, load)) as decoded:
            found = [measure(trainer, encoder, pairs) for pairs in decoded]
        everything: list[tuple[float, int]] = gather_object(found)
        return sum(value for value, _ in everything) / sum(count for _, count in everything)

    def _loss(
        self, trainer: Trainer, encoder: PromptEncoder, asked: Sequence[tuple[CotQuestion, Frames]]
    ) -> tuple[float, int]:
        prompts = [encoder.encode_question(question, frames) for question, frames in asked]
        responses_P = [encoder.encode_responses(question) for question, _ in asked]
        found = completion_logprobs(trainer.model, prompts, responses_P)
        return -found.logprobs_BL.sum().item(), int(found.mask_BL.sum())

    def _right(
        self, trainer: Trainer, encoder: PromptEncoder, asked: Sequence[tuple[Sample, Frames]]
    ) -> tuple[float, int]:
        config = self._recipe.validation
        prompts = [encoder.encode(sample, frames) for sample, frames in asked]
        greedy = Sampling(temperature=0.0, max_new_tokens=config.max_new_tokens)
        groups = generate(trainer.model, encoder.tokenizer, prompts, 1, greedy, [0] * len(prompts))
        right = [
            extract_answer(answer.text, sample.options, config.rule).letter == sample.gold
            for (sample, _), (answer,) in zip(asked, groups, strict=True)
        ]
        return float(sum(right)), len(right)
