"""Saving and restoring: a checkpoint is an ordinary Hugging Face folder with a training_state/ folder inside.

    checkpoint-<step>/
        config.json, model.safetensors, generation_config.json, tokenizer and processor files
        training_state/state.json     step, number of processes
        training_state/training.pt    optimizer and schedule
        training_state/rng_<n>.pt     random state of process n
        training_state/average.safetensors   the averaged weights of GRPO-CARE, float32

With LoRA the model files are adapter_config.json and adapter_model.safetensors, the adapter alone, as peft writes them.

A checkpoint is written beside its place and renamed when complete, so a killed process leaves no half checkpoint.
Its weights have the precision they are trained in, because a resumed run has to continue exactly: float32 unless
`train.weights` says otherwise.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from sbr.config.recipes import TrainRecipe
from sbr.errors import CheckpointError
from sbr.model.lora import save_adapter
from sbr.resume.folder import read_json
from sbr.train.ema import trained
from sbr.train.run_folder import FINAL, STATE, checkpoints
from sbr.train.trainer import Trainer

TRAINING = "training.pt"


def save_checkpoint(recipe: TrainRecipe, step: int, trainer: Trainer) -> None:
    """Write checkpoint-<step> and remove all but the newest `train.keep_checkpoints`.  Every process has to call it.

    Raises CheckpointError when weights are not finite, or when the disk does not take it; earlier ones are left.
    """
    accelerator = trainer.accelerator
    _refuse_broken_weights(recipe, step, trainer)
    folder = recipe.output_dir / f"checkpoint-{step}"
    draft = recipe.output_dir / f".{folder.name}.tmp"
    state = draft / STATE.parent
    with _draft(draft, accelerator.is_main_process):
        if accelerator.is_main_process:
            state.mkdir(parents=True)
        accelerator.wait_for_everyone()
        torch.save(_random_state(), state / f"rng_{accelerator.process_index}.pt")
        if accelerator.is_main_process:
            _save_model(recipe, draft, trainer)
            if trainer.average:
                trainer.average.save(state)
            parts = {"optimizer": trainer.optimizer.state_dict(), "schedule": trainer.schedule.state_dict()}
            torch.save(parts, state / TRAINING)
            values = {"step": step, "processes": accelerator.num_processes}
            (draft / STATE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            draft.replace(folder)
    if accelerator.is_main_process:
        for old in checkpoints(recipe.output_dir)[: -recipe.train.keep_checkpoints]:
            _remove(old)


def restore(folder: Path, trainer: Trainer) -> None:
    """Load what `save_checkpoint` wrote beside the weights.  Raises CheckpointError when it cannot be used.

    The optimizer has to be the prepared one: preparing may give it other parameters, and these then start from nothing.
    """
    state = folder / STATE.parent
    advice = f"remove {folder} and resume again: the run then continues from the checkpoint before it"
    processes = read_json(folder / STATE, advice).get("processes")
    if processes != trainer.accelerator.num_processes:
        raise CheckpointError(
            f"{folder} was written by {processes} process(es) and this run has {trainer.accelerator.num_processes}; "
            f"launch it with --num_processes {processes} to continue exactly"
        )
    try:
        training = torch.load(state / TRAINING, map_location="cpu", weights_only=True)
        rng = state / f"rng_{trainer.accelerator.process_index}.pt"
        random_state = torch.load(rng, map_location="cpu", weights_only=True)
        trainer.optimizer.load_state_dict(training["optimizer"])
        trainer.schedule.load_state_dict(training["schedule"])
        torch.set_rng_state(random_state["cpu"])
        if "cuda" in random_state and torch.cuda.is_available():
            torch.cuda.set_rng_state(random_state["cuda"])
    except (
        OSError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        # Not its text: torch's advises to unpickle whatever the file holds.
        raise CheckpointError(f"{state} is damaged ({type(error).__name__}); {advice}") from error
    if trainer.average:
        trainer.average.load(state)


def save_final(recipe: TrainRecipe, trainer: Trainer) -> Path:
    """Write final/ in the recipe's own dtype and return it.  Changes the model to that dtype: training is over.

    Adapters stay float32: they are small.  A final/ that is there is replaced when the new one is complete.
    """
    folder = recipe.output_dir / FINAL
    draft = recipe.output_dir / f".{FINAL}.tmp"
    if trainer.accelerator.is_main_process:
        with _draft(draft, clean=True):
            draft.mkdir()
            if recipe.lora is None:
                # torch's overloads of Module.to do not survive the transformers wrapper in type stubs.
                trainer.model.to(getattr(torch, recipe.model.dtype))  # pyright: ignore[reportArgumentType, reportCallIssue]
            _save_model(recipe, draft, trainer)
            if folder.exists():
                _remove(folder)
            draft.replace(folder)
    trainer.accelerator.wait_for_everyone()
    return folder


@contextmanager
def _draft(draft: Path, clean: bool) -> Iterator[None]:
    """What fails inside leaves no `draft` and is one message; torch and safetensors each have their own for a full
    disk."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if clean:
            shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise CheckpointError(
            f"{draft.name.strip('.').removesuffix('.tmp')} could not be written to {draft.parent}: {error}; what was "
            "there is as it was: make room, then continue with --resume"
        ) from None


def _refuse_broken_weights(recipe: TrainRecipe, step: int, trainer: Trainer) -> None:
    broken = [name for name, weight in trained(trainer.model).items() if not weight.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"after step {step} {len(broken)} weights are not finite ({broken[0]}, ...), so nothing was saved: the "
            f"steps were too large (train.learning_rate {recipe.train.learning_rate:g}); start a new run with a lower "
            "one, from the newest checkpoint (--model.path) if there is one"
        )


def _save_model(recipe: TrainRecipe, folder: Path, trainer: Trainer) -> None:
    if recipe.lora is None:
        trainer.model.save_pretrained(folder)
    else:
        save_adapter(trainer.model, folder)
    trainer.processor.save_pretrained(folder)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _remove(folder: Path) -> None:
    # Rename first: a half-deleted folder must not look like a checkpoint.
    doomed = folder.with_name(f".{folder.name}.old.tmp")
    folder.rename(doomed)
    shutil.rmtree(doomed)
