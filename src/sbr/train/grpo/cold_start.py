"""The cold start: SFT before GRPO in one run, for models that do not know the form of an answer yet.

<output_dir>/cold_start/   an ordinary run folder of SFT; GRPO starts from its final/, which is also the reference
"""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache

from sbr.config.inputs import ModelConfig
from sbr.config.recipes import GrpoRecipe, SftRecipe
from sbr.config.training import ColdStartConfig
from sbr.errors import CheckpointError
from sbr.train import run_folder
from sbr.train.learner import Watcher
from sbr.train.run import run_training
from sbr.train.sft.loop import sft_course


def cold_start(
    recipe: GrpoRecipe,
    config: ColdStartConfig,
    needs_reference: bool,
    resume: bool,
    accelerator: Accelerator,
    watcher: Watcher | None,
) -> ModelConfig:
    """Do the SFT, or what is left of it, and return the model that GRPO starts from.  All processes call it.

    Once GRPO has a checkpoint the SFT is never trained again, whatever is left of its folder.  GRPO without a reference
    needs nothing more of it: the processor is that of `recipe.model`.

    Raises CheckpointError when it is gone and is the reference.
    """
    sft = sft_recipe(recipe, config)
    final = sft.output_dir / run_folder.FINAL
    finished = (recipe.output_dir / run_folder.FINAL).exists()
    if not final.exists() and (finished or run_folder.newest_checkpoint(recipe.output_dir)):
        if needs_reference and not finished:
            raise CheckpointError(
                f"the model this run started from is gone ({final}), and its KL term compares with it; restore that "
                "folder, or start a new run with another --output_dir"
            )
        return recipe.model
    run_folder.check_start(sft, resume and run_folder.holds_run(sft.output_dir))
    if not final.exists():  # once finished, not even its data are needed
        run_training(sft_course(sft, "cold start"), accelerator, watcher)
        clear_device_cache(garbage_collection=True)  # GRPO needs the memory of its optimizer
    return recipe.model.model_copy(update={"path": str(final)})


def sft_recipe(recipe: GrpoRecipe, config: ColdStartConfig) -> SftRecipe:
    """The cold start as a recipe of its own: the model, data, frames and prompt of the GRPO run."""
    return SftRecipe(
        model=recipe.model,
        data=recipe.data,
        output_dir=recipe.output_dir / run_folder.COLD_START,
        frames=recipe.frames,
        prompt=recipe.prompt,
        train=config.train,
        validation=config.validation,
    )
