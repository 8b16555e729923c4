"""What every training run does around its steps: continue or start, keep the folder, report, save the final model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator

from sbr.algo.algorithm import Algorithm
from sbr.config.inputs import ModelConfig
from sbr.config.recipes import TrainRecipe
from sbr.model.load import model_files
from sbr.train import run_folder
from sbr.train.checkpoint import save_checkpoint, save_final
from sbr.train.grpo.metrics import StepMetrics
from sbr.train.order import left_over, total_steps
from sbr.train.setup import Trainer, make_trainer
from sbr.train.sft.metrics import SftMetrics

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Whoever wants to see progress, e.g. the progress bar of the command line.  Called on the main process only."""

    def began(self, done: int, total: int) -> None:
        """Training starts after `done` of `total` steps."""

    def stepped(self, metrics: StepMetrics | SftMetrics) -> None:
        """A step is done and written down."""


RunSteps = Callable[[Trainer, int, int], None]
"""(trainer, done, total): take the steps done + 1 to total, and call `save_if_due` after each."""


def run_training(
    recipe: TrainRecipe,
    start: ModelConfig,
    accelerator: Accelerator,
    count: int,
    algorithm: Algorithm | None,
    run_steps: RunSteps,
    watcher: Watcher | None,
    last: bool = True,
) -> None:
    """Train on `count` prompts from the newest checkpoint in `recipe.output_dir`, or else from the model `start`.

    `algorithm` says what the policy is compared with; None in SFT.
    A finished run is left as it is.  The caller has asked `run_folder.check_start`.  The process group ends with the
    run, unless it is not the `last` one of these processes.
    """
    total = total_steps(count, recipe.train)
    newest = run_folder.newest_checkpoint(recipe.output_dir)
    done = run_folder.step_of(newest) if newest else 0
    if (recipe.output_dir / run_folder.FINAL).exists():
        if accelerator.is_main_process:
            logger.info("%s is finished", recipe.output_dir)
        _end(accelerator, last)
        return
    if newest and accelerator.is_main_process:
        logger.info("continuing after step %d of %d in %s", done, total, recipe.output_dir)
    inputs = _input_files(recipe, start, algorithm)
    run_folder.check_inputs(recipe.output_dir, inputs)
    trainer = make_trainer(recipe.model_copy(update={"model": start}), accelerator, total, newest, algorithm)
    accelerator.wait_for_everyone()  # only when every process could start is the folder changed
    if accelerator.is_main_process:
        run_folder.open_folder(recipe, inputs)
        if unused := left_over(count, recipe.train):
            logger.warning("%d of %d prompts do not fill a last step and are not used", unused, count)
    accelerator.wait_for_everyone()
    accelerator.init_trackers("sbr", config={"recipe": recipe.model_dump_json()})
    if watcher and accelerator.is_main_process:
        watcher.began(done, total)
    run_steps(trainer, done, total)
    save_final(recipe, accelerator, trainer.model, trainer.processor)
    _end(accelerator, last)


def _input_files(recipe: TrainRecipe, start: ModelConfig, algorithm: Algorithm | None) -> dict[str, Path]:
    """What decides, beside the recipe, how a run goes on: its rows, and the model at the start where it is still in
    use, as the reference or below adapters."""
    files = run_folder.annotation_files(recipe)
    if recipe.lora is not None or (algorithm is not None and algorithm.needs_reference):
        files |= model_files(start.path)
    return files


def _end(accelerator: Accelerator, last: bool) -> None:
    if last:
        accelerator.end_training()
        return
    for tracker in accelerator.trackers:
        tracker.finish()


def save_if_due(recipe: TrainRecipe, trainer: Trainer, step: int, total: int) -> None:
    """Write a checkpoint every `train.save_every` steps and after the last.  Every process has to call it."""
    if step % recipe.train.save_every == 0 or step == total:
        save_checkpoint(
            recipe,
            step,
            trainer.accelerator,
            trainer.model,
            trainer.processor,
            trainer.optimizer,
            trainer.schedule,
            trainer.average,
        )
