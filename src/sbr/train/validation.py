"""Looks at a model while it learns: the loss on held-out responses, and how many questions it answers right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import torch
from accelerate.utils import gather_object

from sbr.config.recipes import TrainRecipe
from sbr.data.sources.cot import CotQuestion
from sbr.data.sources.select import choose_levels, load_questions
from sbr.frames.ahead import ShownT, frames_ahead
from sbr.model.logprobs import completion_logprobs
from sbr.model.modes import evaluating
from sbr.prompt.encode import PromptEncoder
from sbr.reward.answer import extract_answer
from sbr.rollout.generate import Sampling, generate
from sbr.train.trainer import Trainer
from sbr.types import Frames, Sample, Shown


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

    def __init__(self, recipe: TrainRecipe, held_out: Sequence[CotQuestion] = ()) -> None:
        self._config = recipe.validation
        self._held_out = held_out
        levels = choose_levels(recipe.data, self._config.levels) if self._config.levels else ()
        self._samples = {level: load_questions(recipe.data, level, self._config.questions) for level in levels}

    def due(self, step: int, total: int) -> bool:
        return step % self._config.every == 0 or step == total

    def look(self, trainer: Trainer, encoder: PromptEncoder, load: Callable[[Shown], Frames]) -> Seen:
        """Every process takes its share and has to call this."""

        def loss(asked: Sequence[tuple[CotQuestion, Frames]]) -> tuple[float, int]:
            prompts = [encoder.encode_question(question, frames) for question, frames in asked]
            found = completion_logprobs(
                trainer.model, prompts, [encoder.encode_responses(question) for question, _ in asked]
            )
            return -found.logprobs_BL.sum().item(), int(found.mask_BL.sum())

        def right(asked: Sequence[tuple[Sample, Frames]]) -> tuple[float, int]:
            prompts = [encoder.encode(sample, frames) for sample, frames in asked]
            greedy = Sampling(temperature=0.0, max_new_tokens=self._config.max_new_tokens)
            groups = generate(trainer.model, encoder.tokenizer, prompts, 1, greedy, [0] * len(prompts))
            letters = [
                extract_answer(answer.text, sample.options, self._config.rule).letter
                for (sample, _), (answer,) in zip(asked, groups, strict=True)
            ]
            return float(sum(letter == sample.gold for letter, (sample, _) in zip(letters, asked, strict=True))), len(
                asked
            )

        with torch.no_grad(), trainer.accelerator.autocast(), evaluating(trainer.model):
            return Seen(
                self._share(trainer, self._held_out, load, loss) if self._held_out else None,
                {level: self._share(trainer, samples, load, right) for level, samples in self._samples.items()},
            )

    def _share(
        self,
        trainer: Trainer,
        asked: Sequence[ShownT],
        load: Callable[[Shown], Frames],
        measure: Callable[[Sequence[tuple[ShownT, Frames]]], tuple[float, int]],
    ) -> float:
        """The quotient of the sums of what `measure` finds in every batch of every process."""
        own = asked[trainer.accelerator.process_index :: trainer.accelerator.num_processes]
        size = self._config.batch_size
        batches = [own[start : start + size] for start in range(0, len(own), size)]
        with closing(frames_ahead(batches, load)) as decoded:
            found = [measure(pairs) for pairs in decoded]
        everything: list[tuple[float, int]] = gather_object(found)
        return sum(value for value, _ in everything) / sum(count for _, count in everything)
