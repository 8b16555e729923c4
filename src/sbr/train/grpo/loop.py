"""GRPO: take prompts, look, answer, score, learn.

    samples -> slots of a step -> frames -> prompts -> rollouts -> scores -> advantages -> update -> metrics, checkpoint

One step is one rollout of `train.prompts_per_step` prompts and `algo.updates_per_rollout` optimizer updates on it (one
in the paper); the learning rate, the metrics and the checkpoints count these steps.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from sbr.algo.algorithm import Algorithm
from sbr.algo.select import select
from sbr.config.recipes import GrpoRecipe
from sbr.data.sources.held_out import hold_out_samples
from sbr.data.sources.select import load_training
from sbr.errors import ConfigError
from sbr.frames.cache import open_cache
from sbr.reward.custom import check_custom
from sbr.reward.noise import rewarded_gold
from sbr.train import journal, run_folder
from sbr.train.grpo.ahead import RolloutsAhead
from sbr.train.grpo.alarms import findings
from sbr.train.grpo.answer_likelihood import answer_likelihoods
from sbr.train.grpo.cold_start import cold_start
from sbr.train.grpo.collect import Collected
from sbr.train.grpo.metrics import (
    BatchFigures,
    GrpoMetrics,
    ProcessStep,
    combine,
    completion_records,
)
from sbr.train.grpo.rollouts import Rollouts
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.guarded import guard_of
from sbr.train.learner import Bench, Course, Done, Share, Watcher
from sbr.train.order import total_steps
from sbr.train.run import processes, run_training
from sbr.train.stopwatch import Stopwatch
from sbr.train.validation import Validation
from sbr.types import Sample

logger = logging.getLogger(__name__)


def train_grpo(recipe: GrpoRecipe, resume: bool, watcher: Watcher | None = None) -> None:
    """Train the model of `recipe` and leave metrics, checkpoints and final/ in `recipe.output_dir` (`run_folder`).

    With `resume` the newest checkpoint is continued, and its later journal lines are written anew; a run that was
    killed before its first checkpoint starts at step 1.  With `recipe.cold_start` SFT comes first.

    Raises ConfigError or CheckpointError when the run may not start, BusyError when another one writes its folder,
    DataError or MediaError when a sample cannot be used (nothing is skipped), SbrError when a gradient is not finite.
    """
    refuse_recipe(recipe)
    run_folder.check_start(recipe, resume)
    looks, reward = recipe.validation, recipe.reward
    samples, held_out = hold_out_samples(load_training(recipe.data), looks.held_out, recipe.train.seed)
    total = total_steps(len(samples), recipe.train)  # may refuse
    cache = open_cache(recipe.data)
    wrong_too = [replace(each, gold=rewarded_gold(each, reward.noise, reward.noise_seed)) for each in held_out]
    validation = Validation(recipe, cache, held_out_samples=wrong_too)
    guarded = guard_of(recipe, looks, validation, total)
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    refuse_cut(recipe, algorithm)
    check_custom(recipe.reward.custom)
    with processes(recipe, resume) as accelerator:
        if guarded is None and validation.sets and looks.guard != "off" and accelerator.is_main_process:
            logger.warning(
                "validation asks so few questions that its guard could not tell a fall from chance: it is off"
            )
        if algorithm.warning and accelerator.is_main_process:
            logger.warning(algorithm.warning)
        start = recipe.model
        if recipe.cold_start is not None:
            start = cold_start(recipe, recipe.cold_start, algorithm.needs_reference, resume, accelerator, watcher)

        def make_learner(bench: Bench) -> GrpoLearner:
            rollouts = Rollouts.of(recipe, algorithm, samples, bench)
            ahead = RolloutsAhead(rollouts) if recipe.rollout.ahead else rollouts
            return GrpoLearner(recipe, algorithm, bench, ahead)

        asked = recipe.rollout
        course = Course(
            *("GRPO", recipe, start, samples, cache, validation, algorithm, asked.temperature, asked.twin),
            make_learner=make_learner,
            guarded=guarded,
        )
        run_training(course, accelerator, watcher)


def refuse_recipe(recipe: GrpoRecipe) -> None:
    """Raise ConfigError for what no GRPO run can learn from."""
    if recipe.rollout.group_size < 2:
        raise ConfigError(
            f"rollout.group_size is {recipe.rollout.group_size}: a completion is compared with the others of its "
            "prompt, so a group of one has no signal; set it to 2 or more (the paper uses 8)"
        )
    if recipe.rollout.ahead:
        _refuse_ahead(recipe)
    if recipe.cold_start is not None and recipe.lora is not None:
        # The reference of adapters is the model without them, which would be the model before the cold start.
        raise ConfigError(
            "[cold_start] trains all weights and [lora] adapters only; run them apart: `sbr sft` first, then "
            "`sbr grpo` with [lora] and --model.path <its run>/final"
        )


def _refuse_ahead(recipe: GrpoRecipe) -> None:
    native, own_gpu = recipe.rollout.sampler == "native", not recipe.rollout.vllm.urls
    if native or (recipe.rollout.sampler == "vllm" and own_gpu):
        what = "draws with the weights that are being trained" if native else "sleeps while training"
        raise ConfigError(
            f'rollout.ahead draws while this process trains, and rollout.sampler "{recipe.rollout.sampler}" {what}; '
            'set it to "vllm" and name servers in rollout.vllm.urls, or remove rollout.ahead'
        )
    if getattr(recipe.algo, "importance", None) == "none":  # an algorithm of one's own knows itself
        raise ConfigError(
            "rollout.ahead learns from completions of a policy that is one step older, and nothing weighs them for "
            'that; set algo.importance, to "token" for instance'
        )


def refuse_cut(recipe: GrpoRecipe, algorithm: Algorithm) -> None:
    """Raise ConfigError where `algorithm` needs groups whole that `recipe` cuts."""
    if algorithm.whole_groups and recipe.train.completions_per_microbatch is not None:
        raise ConfigError(
            f"the loss of algo.name {recipe.algo.name} compares the completions of a prompt with each other, so a "
            "group cannot be cut; remove train.completions_per_microbatch"
        )


class GrpoLearner:
    """One step of GRPO, a `sbr.train.learner.Learner`."""

    def __init__(
        self, recipe: GrpoRecipe, algorithm: Algorithm, bench: Bench, rollouts: Rollouts | RolloutsAhead
    ) -> None:
        self._recipe = recipe
        self._algorithm = algorithm
        self._trainer = bench.trainer
        self._tokenizer = bench.encoder.tokenizer
        self._rollouts = rollouts
        self._known: frozenset[str] = frozenset()
        """Kinds of the findings of the step before; they are not reported again."""

    def take_step(self, share: Share[Sample]) -> ProcessStep:
        collected = self._rollouts.collect(share)
        return self._learn(collected, share.step, share.clock)

    def join(self, done: Done, parts: Sequence[ProcessStep]) -> GrpoMetrics:
        """Also append to completions.jsonl and warn of new findings."""
        metrics = combine(done, parts)
        if done.step == 1 or done.step % self._recipe.log.completions_every == 0:
            records = sorted(
                (record for part in parts for record in part.completions),
                key=lambda record: (record.slot, record.round, record.index),
            )
            journal.append(self._recipe.output_dir / run_folder.COMPLETIONS, records)
        present = findings(metrics, self._recipe)
        for finding in present:
            if finding.kind not in self._known:
                logger.warning(finding.text)
        self._known = frozenset(finding.kind for finding in present)
        return metrics

    def _learn(self, collected: Collected, step: int, clock: Stopwatch) -> ProcessStep:
        trainer, algorithm, train = self._trainer, self._algorithm, self._recipe.train
        groups = [found.group for found in collected.batch]
        rewards_PG = torch.tensor([[scored.reward for scored in found.scores_G] for found in collected.batch])
        bonus_PG = torch.zeros_like(rewards_PG)
        size, updates = train.prompts_per_microbatch, self._recipe.algo.updates_per_rollout
        with clock("reference"):
            if algorithm.bonus and trainer.average:
                right_PG = torch.tensor(
                    [[s.answer.letter == s.rewarded for s in found.scores_G] for found in collected.batch]
                )
                likelihood_PG = answer_likelihoods(trainer.plain, trainer.average, self._tokenizer, groups, size)
                bonus_PG = algorithm.bonus(right_PG, likelihood_PG)
            advantages_PG = algorithm.advantages(rewards_PG + bonus_PG)
            most = train.completions_per_microbatch
            batches = make_microbatches(trainer, algorithm, groups, advantages_PG, size, updates, most)
        figures: list[BatchFigures] = []
        norms: list[float] = []
        records = partial(completion_records, step, collected, bonus_PG)
        process = trainer.accelerator.process_index
        with clock("update"), journal.kept_if_broken(self._recipe.output_dir, step, process, records):
            for _ in range(updates):
                found, norm = update(trainer, algorithm, batches, train.max_grad_norm, step)
                figures += found
                norms.append(norm)
        return ProcessStep(records(), tuple(figures), tuple(norms))
