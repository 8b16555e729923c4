"""The training loop: take prompts, look, answer, score, learn, write down.

    samples -> slots of a step -> frames -> prompts -> rollouts -> scores -> advantages -> update -> metrics, checkpoint

One step is one rollout of `train.prompts_per_step` prompts and `algo.updates_per_rollout` optimizer updates on it (one
in the paper); the learning rate, the metrics and the checkpoints count these steps.  Prompts and completions are a pure
function of the recipe and the step number; what else is random (stochastic rounding, dropout) goes on from the random
state that a checkpoint keeps.  So a resumed run repeats the uninterrupted one exactly.

The loop runs on one process or, under `accelerate launch`, on several; each takes its share of the prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import torch
from accelerate.utils import gather_object

from sbr.algo.algorithm import Algorithm
from sbr.algo.select import select
from sbr.config.recipes import GrpoRecipe
from sbr.data.sources.select import load_training
from sbr.errors import ConfigError
from sbr.frames.cache import FrameCache, open_cache
from sbr.prompt.encode import PromptEncoder
from sbr.reward.custom import check_custom
from sbr.train import journal, run_folder
from sbr.train.grpo.alarms import findings
from sbr.train.grpo.answer_likelihood import answer_likelihoods
from sbr.train.grpo.cold_start import cold_start
from sbr.train.grpo.collect import Collected, ScoredGroup, refill
from sbr.train.grpo.metrics import BatchFigures, CompletionRecord, ProcessStep, StepMetrics, combine, numbers
from sbr.train.grpo.stages import FramePrefetcher, completion_records, encode_prompts, roll_out, score_groups
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.order import Slot, slots_of_step, spare_slot, total_steps
from sbr.train.run import Watcher, run_training, save_if_due
from sbr.train.setup import Trainer, make_accelerator
from sbr.train.stopwatch import Stopwatch
from sbr.types import Frames, Sample

logger = logging.getLogger(__name__)


def train_grpo(recipe: GrpoRecipe, resume: bool, watcher: Watcher | None = None) -> None:
    """Train the model of `recipe` and leave metrics, checkpoints and final/ in `recipe.output_dir` (`run_folder`).

    With `resume` the newest complete checkpoint is continued, and its later journal lines are written anew; without any
    checkpoint the run starts at step 1.  With `recipe.cold_start` SFT comes first (`sbr.train.grpo.cold_start`).

    Raises ConfigError or CheckpointError when the run may not start, DataError or MediaError when a sample cannot be
    used (nothing is skipped), SbrError when a gradient is not finite.
    """
    if recipe.rollout.group_size < 2:
        raise ConfigError(
            f"rollout.group_size is {recipe.rollout.group_size}: a completion is compared with the others of its "
            "prompt, so a group of one has no signal; set it to 2 or more (the paper uses 8)"
        )
    run_folder.check_start(recipe, resume)
    samples = load_training(recipe.data)
    total_steps(len(samples), recipe.train)  # may refuse
    cache = open_cache(recipe.data)
    accelerator = make_accelerator(recipe)
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    check_custom(recipe.reward.custom)
    if algorithm.warning and accelerator.is_main_process:
        logger.warning(algorithm.warning)
    start = recipe.model
    if recipe.cold_start is not None:
        start = cold_start(recipe, recipe.cold_start, algorithm.needs_reference, resume, watcher)

    def run_steps(trainer: Trainer, done: int, total: int) -> None:
        _run_steps(recipe, trainer, algorithm, samples, cache, done, total, watcher)
        if cache is not None and accelerator.is_main_process:
            cache.log_counts()

    run_training(recipe, start, accelerator, len(samples), algorithm, run_steps, watcher)


def _run_steps(
    recipe: GrpoRecipe,
    trainer: Trainer,
    algorithm: Algorithm,
    samples: Sequence[Sample],
    cache: FrameCache | None,
    done: int,
    total: int,
    watcher: Watcher | None,
) -> None:
    accelerator = trainer.accelerator
    encoder = PromptEncoder(trainer.processor, recipe.prompt)
    schedule = {
        step: slots_of_step(samples, step, recipe.train, accelerator.process_index, accelerator.num_processes)
        for step in range(done + 1, total + 1)
    }
    known: frozenset[str] = frozenset()
    with FramePrefetcher(recipe.frames, encoder.size_factor, cache) as ahead:
        ahead.request([slot.sample for slot in schedule.get(done + 1, ())])
        for step, slots in schedule.items():
            clock = Stopwatch(accelerator.device)
            with clock("step"):
                with clock("frames"):
                    frames = ahead.take()
                ahead.request([slot.sample for slot in schedule.get(step + 1, ())])
                learning_rate = float(trainer.schedule.get_last_lr()[0])
                collected = _collect(recipe, trainer, algorithm, encoder, ahead, samples, step, slots, frames, clock)
                completions, batches, norms = _learn(recipe, trainer, algorithm, encoder, step, collected, clock)
            part = ProcessStep(completions, batches, norms, clock.seconds())
            parts: list[ProcessStep] = gather_object([part])
            if accelerator.is_main_process:
                epoch = step * recipe.train.prompts_per_step / len(samples)
                metrics = combine(step, epoch, learning_rate, parts)
                known = _write_down(recipe, metrics, parts, known)
                if watcher:
                    watcher.stepped(metrics)
                accelerator.log(numbers(metrics), step=step)
            save_if_due(recipe, trainer, step, total)


def _collect(
    recipe: GrpoRecipe,
    trainer: Trainer,
    algorithm: Algorithm,
    encoder: PromptEncoder,
    ahead: FramePrefetcher,
    samples: Sequence[Sample],
    step: int,
    slots: Sequence[Slot[Sample]],
    frames: Sequence[Frames],
    clock: Stopwatch,
) -> Collected:
    """Roll out and score this process's slots, and further prompts where the algorithm wants them."""
    weight = recipe.reward.length_weight + algorithm.length_weight
    rewards = recipe.reward.model_copy(update={"length_weight": weight})

    def ask(asked: Sequence[Slot[Sample]], frames: Sequence[Frames]) -> tuple[ScoredGroup, ...]:
        with clock("frames"):
            prompts = encode_prompts(encoder, asked, frames)
        with clock("rollout"):
            groups = roll_out(trainer, encoder.tokenizer, asked, prompts, recipe.rollout)
        with clock("reward"):
            return score_groups(asked, groups, rewards, recipe.rollout.max_new_tokens)

    def ask_further(asked: Sequence[Slot[Sample]]) -> tuple[ScoredGroup, ...]:
        with clock("frames"):
            found = ahead.load([slot.sample for slot in asked])
        return ask(asked, found)

    spare = partial(spare_slot, samples, step, recipe.train)
    return refill(ask(slots, frames), ask_further, spare, algorithm.extra_rounds)


def _learn(
    recipe: GrpoRecipe,
    trainer: Trainer,
    algorithm: Algorithm,
    encoder: PromptEncoder,
    step: int,
    collected: Collected,
    clock: Stopwatch,
) -> tuple[tuple[CompletionRecord, ...], tuple[BatchFigures, ...], tuple[float, ...]]:
    """Learn from this process's share; return its completions, the figures of its batches and gradient norms."""
    groups = [found.group for found in collected.batch]
    rewards_PG = torch.tensor([[scored.reward for scored in found.scores_G] for found in collected.batch])
    bonus_PG = torch.zeros_like(rewards_PG)
    size, updates = recipe.train.prompts_per_microbatch, recipe.algo.updates_per_rollout
    with clock("reference"):
        if algorithm.bonus and trainer.average:
            right_PG = torch.tensor(
                [[s.answer.letter == s.rewarded for s in found.scores_G] for found in collected.batch]
            )
            likelihood_PG = answer_likelihoods(trainer, trainer.average, encoder.tokenizer, groups, size)
            bonus_PG = algorithm.bonus(right_PG, likelihood_PG)
        advantages_PG = algorithm.advantages(rewards_PG + bonus_PG)
        batches = make_microbatches(trainer, algorithm, groups, advantages_PG, size, updates)
    figures: list[BatchFigures] = []
    norms: list[float] = []
    with clock("update"):
        for _ in range(updates):
            found, norm = update(trainer, algorithm, batches, recipe.train.max_grad_norm, step)
            figures += found
            norms.append(norm)
        trainer.schedule.step()
        if trainer.average:
            trainer.average.after_step(step)
    return completion_records(step, collected, bonus_PG), tuple(figures), tuple(norms)


def _write_down(
    recipe: GrpoRecipe, metrics: StepMetrics, parts: Sequence[ProcessStep], known: frozenset[str]
) -> frozenset[str]:
    """Append to the journals, warn of new findings and return the kinds of all present ones."""
    if metrics.step == 1 or metrics.step % recipe.log.completions_every == 0:
        records = sorted(
            (record for part in parts for record in part.completions),
            key=lambda record: (record.slot, record.round, record.index),
        )
        journal.append(recipe.output_dir / run_folder.COMPLETIONS, records)
    journal.append(recipe.output_dir / run_folder.METRICS, [metrics])
    present = findings(metrics, recipe)
    for finding in present:
        if finding.kind not in known:
            logger.warning(finding.text)
    return frozenset(finding.kind for finding in present)
