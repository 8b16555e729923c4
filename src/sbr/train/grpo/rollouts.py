"""The first half of a GRPO step on one process: prompts -> completions of the policy -> scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

from sbr.algo.algorithm import Algorithm
from sbr.config.recipes import GrpoRecipe
from sbr.config.training import RewardConfig
from sbr.frames.ahead import frames_now
from sbr.reward.score import score
from sbr.rollout.engine import Question
from sbr.rollout.sampler import Sampler, open_sampler
from sbr.rollout.sampling import Sampling
from sbr.train.grpo.collect import Collected, ScoredGroup, refill
from sbr.train.learner import Bench, Share
from sbr.train.order import Slot, spare_slot
from sbr.train.stopwatch import Stopwatch
from sbr.types import Completion, Frames, RolloutGroup, Sample, Score


@dataclass(frozen=True, slots=True, eq=False)
class Rollouts:
    """Asks the sampler, scores, and asks further prompts where the algorithm wants them."""

    bench: Bench
    sampler: Sampler
    recipe: GrpoRecipe
    samples: Sequence[Sample]
    """All of the training file: the further prompts are among them."""
    reward: RewardConfig
    extra_rounds: int

    @classmethod
    def of(cls, recipe: GrpoRecipe, algorithm: Algorithm, samples: Sequence[Sample], bench: Bench) -> Rollouts:
        sampler = open_sampler(bench.trainer.asked, bench.trainer.processor, recipe)
        weight = recipe.reward.length_weight + algorithm.length_weight
        reward = recipe.reward.model_copy(update={"length_weight": weight})
        return cls(bench, sampler, recipe, samples, reward, algorithm.extra_rounds)

    def collect(self, share: Share[Sample]) -> Collected:
        """The scored groups of this process's slots, and of the prompts that took the place of some."""
        with ExitStack() as stack:
            with share.clock("rollout"):
                stack.enter_context(self.present())
            return self.draw(share)

    def present(self) -> AbstractContextManager[None]:
        """Inside, `draw` draws from the policy as it is now.  All processes enter together."""
        return self.sampler.present(self.bench.trainer.whole)

    def draw(self, share: Share[Sample]) -> Collected:
        def ask_further(slots: Sequence[Slot[Sample]]) -> tuple[ScoredGroup, ...]:
            with share.clock("frames"):
                found = frames_now([slot.sample for slot in slots], self.bench.load)
            return self._ask(slots, [frames for _, frames in found], share.clock)

        spare = partial(spare_slot, self.samples, share.step, self.recipe.train)
        first = self._ask(share.slots, share.frames, share.clock)
        return refill(first, ask_further, spare, self.extra_rounds)

    def _ask(
        self, slots: Sequence[Slot[Sample]], frames: Sequence[Frames], clock: Stopwatch
    ) -> tuple[ScoredGroup, ...]:
        config, trainer = self.recipe.rollout, self.bench.trainer
        sampling = Sampling(config.temperature, config.top_p, config.top_k, config.max_new_tokens)
        with clock("frames"):
            pairs = list(zip(slots, frames, strict=True))
            questions = [Question(slot.sample, pictures, slot.seed) for slot, pictures in pairs]
            prompts = [self.bench.encoder.encode(slot.sample, pictures) for slot, pictures in pairs]
        with clock("rollout"), trainer.accelerator.autocast():
            answers = self.sampler.sample(questions, prompts, config.group_size, sampling)
        with clock("reward"):
            return tuple(
                ScoredGroup(slot, RolloutGroup(slot.sample, prompt, completions), self._scores(slot, completions))
                for slot, prompt, completions in zip(slots, prompts, answers, strict=True)
            )

    def _scores(self, slot: Slot[Sample], completions: Sequence[Completion]) -> tuple[Score, ...]:
        limit = self.recipe.rollout.max_new_tokens
        return tuple(score(found.text, slot.sample, self.reward, len(found.token_ids), limit) for found in completions)
