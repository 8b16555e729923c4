"""Saving and restoring: a checkpoint is an ordinary Hugging Face folder with a training_state/ folder inside.

    checkpoint-<step>/
        config.json, model.safetensors, generation_config.json, tokenizer and processor files
        training_state/state.json     step, number of processes, recipe
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
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sbr.config.recipes import TrainRecipe
from sbr.errors import CheckpointError
from sbr.model.families import VisionLanguageModel
from sbr.model.lora import save_adapter
from sbr.train.ema import AverageWeights
from sbr.train.run_folder import FINAL, STATE, checkpoints

TRAINING = "training.pt"


def save_checkpoint(
    recipe: TrainRecipe,
    step: int,
    accelerator: Accelerator,
    model: VisionLanguageModel,
    processor: Any,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: AverageWeights | None = None,
) -> None:
    """Write checkpoint-<step> and remove all but the newest `train.keep_checkpoints`.  Every process has to call it."""
    folder = recipe.output_dir / f"checkpoint-{step}"
    draft = recipe.output_dir / f".{folder.name}.tmp"
    state = draft / STATE.parent
    if accelerator.is_main_process:
        state.mkdir(parents=True)
    accelerator.wait_for_everyone()
    torch.save(_random_state(), state / f"rng_{accelerator.process_index}.pt")
    if accelerator.is_main_process:
        _save_model(recipe, draft, model, processor)
        if average:
            average.save(state)
        torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, state / TRAINING)
        values = {
            "step": step,
            "processes": accelerator.num_processes,
            "recipe": recipe.model_dump(mode="json"),
        }
        (draft / STATE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        draft.replace(folder)
        for old in checkpoints(recipe.output_dir)[: -recipe.train.keep_checkpoints]:
            _remove(old)


def restore(
    folder: Path,
    accelerator: Accelerator,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Load what `save_checkpoint` wrote beside the weights.  Raises CheckpointError when it cannot be used."""
    state = folder / STATE.parent
    values = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if values["processes"] != accelerator.num_processes:
        raise CheckpointError(
            f"{folder} was written by {values['processes']} process(es) and this run has {accelerator.num_processes}; "
            f"launch it with --num_processes {values['processes']} to continue exactly"
        )
    try:
        training = torch.load(state / TRAINING, map_location="cpu", weights_only=True)
        random_state = torch.load(state / f"rng_{accelerator.process_index}.pt", map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(
            f"{state} is damaged ({error}); remove {folder} and resume again: the run then continues from the "
            "checkpoint before it"
        ) from None
    optimizer.load_state_dict(training["optimizer"])
    schedule.load_state_dict(training["schedule"])
    torch.set_rng_state(random_state["cpu"])
    if "cuda" in random_state and torch.cuda.is_available():
        torch.cuda.set_rng_state(random_state["cuda"])


def save_final(recipe: TrainRecipe, accelerator: Accelerator, model: VisionLanguageModel, processor: Any) -> Path:
    """Write final/ in the recipe's own dtype and return it.  Changes `model` to that dtype: training is over.

    Adapters stay float32: they are small.
    """
    folder = recipe.output_dir / FINAL
    if accelerator.is_main_process:
        draft = recipe.output_dir / f".{FINAL}.tmp"
        draft.mkdir()
        if recipe.lora is None:
            # torch's overloads of Module.to do not survive the transformers wrapper in type stubs.
            model.to(getattr(torch, recipe.model.dtype))  # pyright: ignore[reportArgumentType, reportCallIssue]
        _save_model(recipe, draft, model, processor)
        draft.replace(folder)
    accelerator.wait_for_everyone()
    return folder


def _save_model(recipe: TrainRecipe, folder: Path, model: VisionLanguageModel, processor: Any) -> None:
    if recipe.lora is None:
        model.save_pretrained(folder)
    else:
        save_adapter(model, folder)
    processor.save_pretrained(folder)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _remove(folder: Path) -> None:
    # Rename first: a half-deleted folder must not look like a checkpoint.
    doomed = folder.with_name(f".{folder.name}.tmp")
    folder.rename(doomed)
    shutil.rmtree(doomed)
