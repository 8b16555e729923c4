"""The cold start: SFT before GRPO in one run, for models that do not know the form of an answer yet.

<output_dir>/cold_start/   an ordinary run folder of SFT; GRPO starts from its final/, which is also the reference
"""

from __future__ import annotations

from accelerate.utils.memory import clear_device_cache

from sbr.config import ColdStartConfig, GrpoRecipe, ModelConfig, SftRecipe
from sbr.errors import ConfigError
from sbr.train import run_folder
from sbr.train.run import Watcher
from sbr.train.sft_loop import train_sft


def cold_start(recipe: GrpoRecipe, config: ColdStartConfig, resume: bool, watcher: Watcher | None) -> ModelConfig:
    """Do the SFT, or what is left of it, and return the model that GRPO starts from.

    Raises ConfigError with [lora]: the reference of adapters is the model without them, which would be the model before
    the cold start.
    """
    if recipe.lora is not None:
        raise ConfigError(
            "[cold_start] trains all weights and [lora] adapters only; run them apart: `sbr sft` first, then "
            "`sbr grpo` with [lora] and --model.path <its run>/final"
        )
    sft = sft_recipe(recipe, config)
    run_folder.check_start(sft, resume)
    if not (sft.output_dir / run_folder.FINAL).exists():  # once finished, not even its data are needed
        train_sft(sft, resume, watcher, last=False)
        clear_device_cache(garbage_collection=True)  # GRPO needs the memory of its optimizer
    return recipe.model.model_copy(update={"path": str(sft.output_dir / run_folder.FINAL)})


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
