"""Saving and restoring: a checkpoint is an ordinary Hugging Face folder with a training_state/ folder inside.

    checkpoint-<step>/
        config.json, model.safetensors, generation_config.json, tokenizer and processor files
        README.md                   the model card (`sbr.card`)
        training_state/state.json   step, number of processes, schedule
        training_state/tensors/     moments of the optimizer, averaged weights of GRPO-CARE (`sbr.train.moments`)
        training_state/training.pt  instead of the moments: the optimizer adamw_8bit, whose tensors are of its own kind
        training_state/rng_<n>.pt   random state of process n

    best-<step>/                a model without its training state, to which a guard may go back

With LoRA the model files are adapter_config.json and adapter_model.safetensors, the adapter alone, as peft writes them.

A checkpoint is written beside its place and renamed when complete, so a killed process leaves no half checkpoint.
Its weights have the precision they are trained in, because a resumed run has to continue exactly: float32 unless
`train.weights` says otherwise.  Weights that are trained in parts are put together by the main process, in its host
memory.
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.tensor import DTensor

from sbr.card.blocks import CARD, read_card
from sbr.card.card import card_of_training
from sbr.config.recipes import TrainRecipe
from sbr.errors import CheckpointError, DataError
from sbr.model.load import load_model, load_processor
from sbr.model.lora import save_adapter
from sbr.resume.folder import read_json
from sbr.train.best import best_folder
from sbr.train.ema import trained
from sbr.train.moments import averages, get_moments, load_tensors, save_tensors, set_moments
from sbr.train.run_folder import FINAL, STATE, checkpoints, read_trained, remove
from sbr.train.sharding import gathered_state, is_sharded
from sbr.train.trainer import Trainer

TRAINING = "training.pt"
TENSORS = "tensors"
OLD_CARD = "README.old.md"
"""A card of final/ whose marks could not be read when the model was replaced."""

logger = logging.getLogger(__name__)


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
        save_tensors(state / TENSORS, _tensors(recipe, trainer))
        _save_model(recipe, draft, trainer)
        if accelerator.is_main_process:
            _write_card(recipe, draft, step, None)
            if _own_kind(recipe):
                torch.save(trainer.optimizer.state_dict(), state / TRAINING)
            values = {"step": step, "processes": accelerator.num_processes, "schedule": trainer.schedule.state_dict()}
            (draft / STATE).write_text(json.dumps(values, indent=2, default=float) + "\n", encoding="utf-8")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            draft.replace(folder)
    if accelerator.is_main_process:
        for old in checkpoints(recipe.output_dir)[: -recipe.train.keep_checkpoints]:
            remove(old)


def restore(recipe: TrainRecipe, folder: Path, trainer: Trainer) -> None:
    """Load what `save_checkpoint` wrote beside the weights.  Raises CheckpointError when it cannot be used.

    With another number of processes prompts, completions and gradients are what they would have been, up to rounding;
    what else is random (LoRA's dropout) is drawn anew.
    """
    state, accelerator = folder / STATE.parent, trainer.accelerator
    advice = f"remove {folder} and resume again: the run then continues from the checkpoint before it"
    saved = read_json(folder / STATE, advice)
    if missing := {"step", "processes", "schedule"} - saved.keys():
        raise CheckpointError(f"{folder / STATE} has no {min(missing)!r}; {advice}")
    try:
        trainer.schedule.load_state_dict(saved["schedule"])
        if _own_kind(recipe):
            trainer.optimizer.load_state_dict(torch.load(state / TRAINING, map_location="cpu", weights_only=True))
        else:
            for group, rate in zip(trainer.optimizer.param_groups, trainer.schedule.get_last_lr(), strict=True):
                group["lr"] = rate
        if saved["processes"] == accelerator.num_processes:
            _set_random_state(torch.load(state / f"rng_{accelerator.process_index}.pt", weights_only=True))
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
    tensors = _tensors(recipe, trainer)
    load_tensors(state / TENSORS, tensors)
    if not _own_kind(recipe):
        set_moments(trainer.model, trainer.optimizer, tensors)
    if saved["processes"] != accelerator.num_processes and accelerator.is_main_process:
        logger.info(
            "%s was written by %s processes, this run has %d: the same up to rounding, but for LoRA's dropout",
            *(folder, saved["processes"], accelerator.num_processes),
        )


def save_final(recipe: TrainRecipe, step: int, trainer: Trainer) -> Path:
    """Write final/, the model after `step`, in the recipe's own dtype and return it.  Changes the model to that dtype:
    training is over.

    Adapters stay float32: they are small.  A final/ that is there is replaced when the new one is complete; what people
    wrote into its card stays.
    """
    folder = recipe.output_dir / FINAL
    _save_whole(recipe, step, folder, trainer, getattr(torch, recipe.model.dtype))
    return folder


def save_best(recipe: TrainRecipe, step: int, trainer: Trainer) -> None:
    """Write best-<step>/, the model as it is trained.  Every process has to call it.  Raises as `save_checkpoint`."""
    _refuse_broken_weights(recipe, step, trainer)
    _save_whole(recipe, step, best_folder(recipe.output_dir, step), trainer, None)


def make_final_of_best(recipe: TrainRecipe, step: int) -> None:
    """Write final/ as `save_final` would have after `step`, from best-<step>/.  One process calls it.

    Raises CheckpointError when that folder is gone or cannot be read, or the disk does not take the new one.
    """
    best, draft = best_folder(recipe.output_dir, step), recipe.output_dir / f".{FINAL}.tmp"
    if not best.is_dir():
        raise CheckpointError(
            f"{best}, the model to go back to, is gone; restore it, or go on with --resume --validation.guard warn"
        )
    with _draft(draft, clean=True):
        if recipe.lora is not None:
            shutil.copytree(best, draft)
        else:
            load_model(recipe.model.model_copy(update={"path": str(best)}), torch.device("cpu")).save_pretrained(draft)
            load_processor(str(best)).save_pretrained(draft)
        _write_card(recipe, draft, step, recipe.output_dir / FINAL)
        _put(draft, recipe.output_dir / FINAL)


def _save_whole(recipe: TrainRecipe, step: int, folder: Path, trainer: Trainer, dtype: torch.dtype | None) -> None:
    draft = folder.with_name(f".{folder.name}.tmp")
    main = trainer.accelerator.is_main_process
    with _draft(draft, clean=main):
        if main:
            draft.mkdir()
        _save_model(recipe, draft, trainer, dtype)
        if main:
            _write_card(recipe, draft, step, folder)
            _put(draft, folder)
    trainer.accelerator.wait_for_everyone()


def _put(draft: Path, folder: Path) -> None:
    if folder.exists():
        remove(folder)
    draft.replace(folder)


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
    parts = {name: w.to_local() if isinstance(w, DTensor) else w for name, w in trained(trainer.model).items()}
    broken = sorted(set(gather_object([name for name, part in parts.items() if not part.isfinite().all()])))
    if broken:
        raise CheckpointError(
            f"after step {step} {len(broken)} weights are not finite ({broken[0]}, ...), so nothing was saved: the "
            f"steps were too large (train.learning_rate {recipe.train.learning_rate:g}); start a new run with a lower "
            "one, from the newest checkpoint (--model.path) if there is one"
        )


def _tensors(recipe: TrainRecipe, trainer: Trainer) -> dict[str, Tensor]:
    found = {} if _own_kind(recipe) else get_moments(trainer.model, trainer.optimizer)
    return found | averages(trainer.average) if trainer.average else found


def _own_kind(recipe: TrainRecipe) -> bool:
    return recipe.train.optimizer == "adamw_8bit"


def _save_model(recipe: TrainRecipe, folder: Path, trainer: Trainer, dtype: torch.dtype | None = None) -> None:
    """The model files; whole models in `dtype` when given.  Every process has to call it, the main one writes."""
    model = trainer.model
    weights = gathered_state(model, frozen=recipe.lora is None) if is_sharded(model) else None
    if not trainer.accelerator.is_main_process:
        return
    if recipe.lora is not None:
        save_adapter(model, folder, weights)
    else:
        whole: Any = trainer.asked if weights else model
        if dtype is not None:
            whole.to(dtype)
            weights = {name: weight.to(dtype) for name, weight in weights.items()} if weights else None
        whole.save_pretrained(folder, state_dict=weights)
    trainer.processor.save_pretrained(folder)


def _write_card(recipe: TrainRecipe, folder: Path, step: int, before: Path | None) -> None:
    """README.md of the model in `folder`; `before` is what stood in its place, if anything did."""
    trained = read_trained(recipe, step)
    try:
        text = card_of_training(trained, read_card(before) if before else None)
    except DataError as error:
        logger.warning("%s; it is kept as %s beside a new card", error, OLD_CARD)
        shutil.copyfile(Path(str(before)) / CARD, folder / OLD_CARD)
        text = card_of_training(trained)
    else:
        if before and (before / OLD_CARD).is_file():
            shutil.copyfile(before / OLD_CARD, folder / OLD_CARD)
    (folder / CARD).write_text(text, encoding="utf-8")


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
