"""What every training run does around its steps: schedule, frames, journal, looks, checkpoints, the final model.

    questions -> slots of a step -> frames -> take_step -> metrics, checkpoint

What a step does is a `Learner`, one of GRPO and one of SFT.  Prompts and completions are a pure function of the recipe
and the step number; what else is random (stochastic rounding, dropout) goes on from the random state that a checkpoint
keeps.  So a resumed run repeats the uninterrupted one exactly.

A run has one process or, under `torchrun` or `accelerate launch`, several; each takes its share of the slots.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from sbr.config.named import source_files
from sbr.config.recipes import TrainRecipe
from sbr.errors import BusyError, CheckpointError, StoppedError
from sbr.frames.ahead import frames_ahead
from sbr.frames.load import load_frames
from sbr.model.load import model_files
from sbr.prompt.encode import PromptEncoder
from sbr.resume.lock import locked
from sbr.train import journal, run_folder
from sbr.train.best import best_folder, stopped_by_guard
from sbr.train.checkpoint import make_final_of_best, save_checkpoint, save_final
from sbr.train.deadline import Deadline
from sbr.train.guarded import Guard
from sbr.train.learner import Bench, Course, Done, Learner, MetricsT, PartT, QuestionT, Share, Watcher
from sbr.train.order import left_over, slots_of_step, total_steps
from sbr.train.setup import make_accelerator, make_trainer
from sbr.train.stop import agreed, listening
from sbr.train.stopwatch import Stopwatch, slowest
from sbr.train.validation import Seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Report(Generic[PartT]):
    """What one process tells the others of a step."""

    part: PartT
    seconds: dict[str, float]
    stop: int | None
    """The signal that asked it to end."""
    taken: int
    """`_taken`"""


@contextmanager
def processes(recipe: TrainRecipe, resume: bool) -> Iterator[Accelerator]:
    """The process group of a command, and its hold on the run folder.

    Raises ConfigError when the launch cannot train `recipe`, BusyError when another run writes the folder, and what
    `run_folder.check_start` raises: the folder may have changed before it was held.
    """
    place = f"process {os.environ.get('RANK', '0')} of {os.environ.get('WORLD_SIZE', '1')}"
    deadline = Deadline(recipe.train.deadline, place)
    with deadline.watching(), deadline.phase("joining the other processes"):
        accelerator = make_accelerator(recipe)
    with _held(recipe.output_dir, accelerator):
        run_folder.check_start(recipe, resume)
        yield accelerator
        accelerator.state.destroy_process_group()


@contextmanager
def _held(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The main process holds the folder; when it cannot, no process goes on."""
    with ExitStack() as stack:
        refusal: list[Exception | None] = [None]
        if accelerator.is_main_process:
            try:
                stack.enter_context(locked(folder))
            except (BusyError, OSError) as error:
                refusal = [error]
        broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise refusal[0]
        yield


def run_training(course: Course[QuestionT, PartT, MetricsT], accelerator: Accelerator, watcher: Watcher | None) -> None:
    """Train from the newest checkpoint in the run folder, or else from the start.  A finished run is left as it is.

    Leaves the folder with metrics, checkpoints and final/.  Raises ConfigError or CheckpointError when the run may not
    go on, DataError or MediaError when a question cannot be used (nothing is skipped), SbrError when a gradient is not
    finite.
    """
    recipe = course.recipe
    total = total_steps(len(course.questions), recipe.train)
    newest = run_folder.newest_checkpoint(recipe.output_dir)
    done = run_folder.step_of(newest) if newest else 0
    finished = (recipe.output_dir / run_folder.FINAL).exists()
    if done > total:
        raise CheckpointError(
            f"the run in {recipe.output_dir} has taken {done} steps, and the recipe asks for {total}; raise "
            "train.max_steps or train.epochs"
        )
    if course.guarded and course.guarded.config.guard == "stop" and stopped_by_guard(recipe.output_dir):
        _end_stopped(course, accelerator)
        return
    if finished and (newest is None or done == total):
        if accelerator.is_main_process:
            logger.info("%s is finished", recipe.output_dir)
        return
    if newest and accelerator.is_main_process:
        logger.info("continuing after step %d of %d in %s", done, total, recipe.output_dir)
    place = f"process {accelerator.process_index} of {accelerator.num_processes}"
    deadline = Deadline(recipe.train.deadline, place)
    with deadline.watching():
        with deadline.phase("loading"):
            bench, learner = _set_up(course, accelerator, total, newest)
        accelerator.init_trackers("sbr", config={"recipe": recipe.model_dump_json()})
        if watcher and accelerator.is_main_process:
            watcher.began(course.name, done, total)
        stopped = _take_steps(course, bench, learner, range(done + 1, total + 1), watcher, deadline)
        with deadline.phase("saving"):
            _end_stopped(course, accelerator) if stopped else save_final(recipe, total, bench.trainer)
    if course.cache is not None and accelerator.is_main_process:
        course.cache.log_counts()
    for tracker in accelerator.trackers:
        tracker.finish()


def _end_stopped(course: Course[Any, Any, Any], accelerator: Accelerator) -> None:
    """Of a run that its guard has stopped, at its newest checkpoint: write final/ and say so.

    A final/ may be there from before the run went on, so it is written again, but for a best look that is gone.
    """
    folder = course.recipe.output_dir
    if accelerator.is_main_process and (stopped := stopped_by_guard(folder)):
        if best_folder(folder, stopped.best).exists() or not (folder / run_folder.FINAL).exists():
            make_final_of_best(course.recipe, stopped.best)
        logger.warning(
            "the guard has stopped this run after step %d; %s holds the model after step %d, its best look.  "
            "--resume --validation.guard warn goes on from step %d",
            *(stopped.step, folder / run_folder.FINAL, stopped.best, stopped.step),
        )
    accelerator.wait_for_everyone()


def _set_up(
    course: Course[QuestionT, PartT, MetricsT], accelerator: Accelerator, total: int, newest: Path | None
) -> tuple[Bench, Learner[QuestionT, PartT, MetricsT]]:
    """Load everything; when all processes have, the main one opens the run folder."""
    recipe = course.recipe
    inputs = _input_files(course)
    run_folder.check_inputs(recipe.output_dir, inputs)
    start = recipe.model_copy(update={"model": course.start})
    trainer = make_trainer(start, accelerator, total, newest, course.algorithm, course.temperature, course.twin)
    encoder = PromptEncoder(trainer.processor, recipe.prompt)
    load = partial(load_frames, config=recipe.frames, factor=encoder.size_factor, cache=course.cache)
    bench = Bench(trainer, encoder, load)
    learner = course.make_learner(bench)
    accelerator.wait_for_everyone()  # only when every process could start is the folder changed
    if accelerator.is_main_process:
        run_folder.open_folder(recipe, inputs)
        if unused := left_over(len(course.questions), recipe.train):
            logger.warning(
                "%d of %d prompts do not fill a last step and are not learned from; --train.max_steps %d takes them, "
                "with the first ones of another epoch",
                *(unused, len(course.questions), total + 1),
            )
    accelerator.wait_for_everyone()
    return bench, learner


def _take_steps(
    course: Course[QuestionT, PartT, MetricsT],
    bench: Bench,
    learner: Learner[QuestionT, PartT, MetricsT],
    steps: range,
    watcher: Watcher | None,
    deadline: Deadline,
) -> bool:
    """Whether the guard has ended the run early."""
    recipe, trainer, accelerator = course.recipe, bench.trainer, bench.trainer.accelerator
    total, look = steps.stop - 1, partial(course.validation.look, trainer, bench.encoder)
    guard = Guard(course.guarded, steps.start - 1, total) if course.guarded else None
    rank, ranks = accelerator.process_index, accelerator.num_processes
    schedule, upcoming = tee(slots_of_step(course.questions, step, recipe.train, rank, ranks) for step in steps)
    shown = ([slot.sample for slot in slots] for slots in upcoming)
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(accelerator.device)  # a cold start is over
    if guard and guard.needs_look:
        with deadline.phase("first look"):
            guard.begin(steps.start - 1, look(steps.start - 1), trainer)
    # Two steps of frames at most are held.
    with closing(frames_ahead(shown, bench.load, ahead=1)) as decoded, listening() as stop:
        ready: deque[Share[QuestionT]] = deque()

        def share_of(step: int) -> Share[QuestionT] | None:
            """They are asked for in order; one that was had early is still there."""
            if not ready and step in steps:
                clock = Stopwatch(accelerator.device, deadline)
                with clock("step"), clock("frames"):
                    frames = [found for _, found in next(decoded)]
                ready.append(Share(step, next(schedule), frames, clock, partial(share_of, step + 1)))
            return ready[0] if ready else None

        for step in steps:
            learning_rate = float(trainer.schedule.get_last_lr()[0])
            with deadline.phase(f"step {step}"):
                share = share_of(step)
                assert share is not None
                clock = ready.popleft().clock
                with clock("step"):
                    part = learner.take_step(share)
                trainer.schedule.step()
                if trainer.average:
                    trainer.average.after_step(step)
            taken = _taken(accelerator.device)
            with clock("validation"):
                due = course.validation.due(step, total)
                seen = look(step) if due else Seen()
                figures = guard.take(step, seen, trainer) if guard and due else {}
            with deadline.phase("metrics of all processes"):
                gathered: list[Report[PartT]] = gather_object([Report(part, clock.seconds, stop.asked, taken)])
            if accelerator.is_main_process:
                epoch = step * recipe.train.prompts_per_step / len(course.questions)
                facts = Done(step, epoch, learning_rate, slowest([own.seconds for own in gathered]), seen, figures)
                metrics = learner.join(facts, [own.part for own in gathered])
                journal.append(recipe.output_dir / run_folder.METRICS, [metrics])
                if watcher:
                    watcher.stepped(metrics)
                    if most := max(own.taken for own in gathered):
                        watcher.took(recipe, ranks, most)
                accelerator.log(journal.numbers(metrics), step=step)
            asked = agreed([own.stop for own in gathered])
            stopped = guard is not None and guard.stopped
            if step % recipe.train.save_every == 0 or step == total or asked is not None or stopped:
                with deadline.phase("saving"):
                    save_checkpoint(recipe, step, trainer)
            if stopped:
                return True
            if asked is not None and step < total:
                raise StoppedError(
                    f"{signal.Signals(asked).name}: stopped after step {step} of {total}; checkpoint-{step} is written "
                    f"in {recipe.output_dir}: continue with --resume",
                    asked,
                )
    return False


def _taken(device: torch.device) -> int:
    """The most bytes allocated at a time since training began; 0 on a CPU, where nobody counts them."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def _input_files(course: Course[Any, Any, Any]) -> dict[str, Path]:
    """What decides, beside the recipe, how a run goes on: its rows, the user's own code, and the model at the start
    where it is still in use, as the reference or below adapters."""
    files = run_folder.annotation_files(course.recipe) | source_files(course.recipe.own_functions())
    if course.recipe.lora is not None or (course.algorithm is not None and course.algorithm.needs_reference):
        files |= model_files(course.start.path)
    return files
