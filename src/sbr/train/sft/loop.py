"""Supervised fine-tuning: take questions, look, learn their responses, write down.

    questions -> slots of a step -> frames -> prompts -> log-probabilities of all responses -> loss -> update

A step takes `train.prompts_per_step` questions, each with all its responses, which share one computation of the prompt.
Everything around it is that of GRPO: order, resume, checkpoints, several processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from accelerate.utils import gather_object

from sbr.algo.sft import sft_loss
from sbr.config.recipes import SftRecipe
from sbr.data.sources.cot import CotQuestion, hold_out, load_cot_questions
from sbr.errors import CheckpointError
from sbr.frames.cache import FrameCache, open_cache
from sbr.model.tokens import end_tokens
from sbr.prompt.encode import PromptEncoder
from sbr.train import journal, run_folder
from sbr.train.grpo.metrics import numbers
from sbr.train.grpo.stages import FramePrefetcher
from sbr.train.grpo.update import apply_gradients
from sbr.train.order import slots_of_step, total_steps
from sbr.train.run import Watcher, run_training, save_if_due
from sbr.train.setup import Trainer, make_accelerator
from sbr.train.sft.metrics import SftPart, combine
from sbr.train.stopwatch import Stopwatch
from sbr.train.validation import Validation
from sbr.types import Prompt


def train_sft(recipe: SftRecipe, resume: bool, watcher: Watcher | None = None, last: bool = True) -> None:
    """Train the model of `recipe` on its CoT file; leaves metrics, checkpoints and final/ as `train_grpo` does.

    With `last` the process group ends with the run; without, further training may follow in the same processes.

    Raises ConfigError or CheckpointError when the run may not start, DataError or MediaError when a row cannot be used
    (nothing is skipped), SbrError when a gradient is not finite.
    """
    run_folder.check_start(recipe, resume)
    every = load_cot_questions(recipe.data)
    questions, held_out = hold_out(every, recipe.data, recipe.validation.share, recipe.train.seed)
    total_steps(len(questions), recipe.train)  # may refuse
    cache = open_cache(recipe.data)
    validation = Validation(recipe, held_out, cache)
    accelerator = make_accelerator(recipe)

    def run_steps(trainer: Trainer, done: int, total: int) -> None:
        _run_steps(recipe, trainer, questions, validation, cache, done, total, watcher)
        if cache is not None and accelerator.is_main_process:
            cache.log_counts()

    run_training(recipe, recipe.model, accelerator, len(questions), None, run_steps, watcher, last)


def _run_steps(
    recipe: SftRecipe,
    trainer: Trainer,
    questions: Sequence[CotQuestion],
    validation: Validation,
    cache: FrameCache | None,
    done: int,
    total: int,
    watcher: Watcher | None,
) -> None:
    accelerator = trainer.accelerator
    encoder = PromptEncoder(trainer.processor, recipe.prompt)
    if encoder.end_of_turn not in end_tokens(trainer.model):
        raise CheckpointError(
            f"{recipe.model.path}: the chat template ends a turn with token {encoder.end_of_turn}, and "
            f"generation_config.json stops at {end_tokens(trainer.model)}: the model would learn to go on; add the "
            "token to its eos_token_id"
        )
    schedule = {
        step: [slot.sample for slot in slots]
        for step in range(done + 1, total + 1)
        if (slots := slots_of_step(questions, step, recipe.train, accelerator.process_index, accelerator.num_processes))
    }
    with FramePrefetcher(recipe.frames, encoder.size_factor, cache) as ahead:
        ahead.request(schedule.get(done + 1, ()))
        for step, asked in schedule.items():
            clock = Stopwatch(accelerator.device)
            with clock("step"):
                with clock("frames"):
                    frames = ahead.take()
                    prompts = [encoder.encode_question(*pair) for pair in zip(asked, frames, strict=True)]
                    responses_P = [encoder.encode_responses(question) for question in asked]
                ahead.request(schedule.get(step + 1, ()))
                learning_rate = float(trainer.schedule.get_last_lr()[0])
                with clock("update"):
                    loss = accumulate(trainer, prompts, responses_P, recipe.train.prompts_per_microbatch)
                    norm = apply_gradients(trainer, recipe.train.max_grad_norm, step)
                    trainer.schedule.step()
                with clock("validation"):
                    due = step % recipe.validation.every == 0 or step == total
                    held_out_loss, accuracy = validation.look(trainer, encoder) if due else (None, None)
            responses = [response for responses in responses_P for response in responses]
            part = SftPart(
                loss=loss,
                rows=len(responses),
                tokens=sum(map(len, responses)),
                seconds=clock.spent("step"),
                seconds_frames=clock.spent("frames"),
                seconds_update=clock.spent("update"),
                seconds_validation=clock.spent("validation"),
            )
            parts: list[SftPart] = gather_object([part])
            if accelerator.is_main_process:
                epoch = step * recipe.train.prompts_per_step / len(questions)
                metrics = combine(step, epoch, learning_rate, norm, held_out_loss, accuracy, parts)
                journal.append(recipe.output_dir / run_folder.METRICS, [metrics])
                if watcher:
                    watcher.stepped(metrics)
                accelerator.log(numbers(metrics), step=step)
            save_if_due(recipe, trainer, step, total)


def accumulate(
    trainer: Trainer, prompts: Sequence[Prompt], responses_P: Sequence[Sequence[Sequence[int]]], size: int
) -> float:
    """Gradients of the loss of a step, in microbatches of `size` prompts; returns this process's part of the loss.

    The mean is over the response tokens of all processes, whatever the sizes of the microbatches.
    """
    accelerator = trainer.accelerator
    own = sum(len(response) for responses in responses_P for response in responses)
    tokens = sum(gather_object([own]))
    trainer.policy.train()
    total = 0.0
    for start in range(0, len(prompts), size):
        last = start + size >= len(prompts)
        # Processes exchange gradients once, with the last microbatch.
        with nullcontext() if last else accelerator.no_sync(trainer.policy):
            found = trainer.policy(prompts[start : start + size], responses_P[start : start + size])
            loss = sft_loss(found.logprobs_BL, found.mask_BL, tokens)
            # Data parallelism averages gradients over processes; the loss is a sum of their parts.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.item()
    return total
