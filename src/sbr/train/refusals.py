"""What cannot be trained is refused before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from sbr.config.inputs import LoraConfig, ModelConfig
from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.errors import ConfigError
from sbr.model import lora
from sbr.model.paths import resolve_model_path
from sbr.train.sharding import local_processes


def check_recipe(recipe: TrainRecipe) -> None:
    """Raise ConfigError for float16, what is not installed, and adapters or 16-bit weights where they cannot be."""
    if recipe.model.dtype == "float16":
        raise ConfigError(
            'model.dtype is "float16", whose gradients underflow in training; use "bfloat16", or "float32" on a CPU'
        )
    available = [str(tracker.value) for tracker in get_available_trackers()]
    for name in recipe.log.trackers:
        if name not in available:
            raise ConfigError(
                f"log.trackers: {name!r} is not installed or not known to accelerate (installed: "
                f"{', '.join(available) or 'none'}); install it, or remove it: metrics.jsonl is always written"
            )
    if recipe.train.optimizer == "adamw_8bit" and find_spec("torchao") is None:
        raise ConfigError(
            'train.optimizer "adamw_8bit" needs torchao: pip install "seed-bench-r1[lean]", or set it to "adamw"'
        )
    if recipe.lora is not None:
        _check_lora(recipe.model, recipe.lora)
    if recipe.train.weights == "bfloat16":
        _check_bfloat16_weights(recipe)


def check_launch(recipe: TrainRecipe, accelerator: Accelerator) -> None:
    """Raise ConfigError for a launch that would shard the model, or share prompts or rounding unevenly."""
    kind = accelerator.distributed_type.value
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise ConfigError(
            f"accelerate is configured for {kind}, which shards or changes the model; this version trains whole "
            "copies: launch with plain data parallelism (accelerate launch --multi_gpu, or torchrun)"
        )
    if accelerator.num_processes > 1 and recipe.train.weights == "bfloat16":
        raise ConfigError(
            'train.weights "bfloat16" rounds by chance in every process, and nothing keeps the copies equal; use one '
            'process, or train.weights "float32"'
        )
    if recipe.train.prompts_per_step % accelerator.num_processes:
        raise ConfigError(
            f"train.prompts_per_step is {recipe.train.prompts_per_step}, which {accelerator.num_processes} processes "
            "cannot share evenly; make it a multiple of the number of processes"
        )


def check_sharding(recipe: TrainRecipe, mode: str, accelerator: Accelerator) -> None:
    """Raise ConfigError where weights in parts cannot be trained."""
    if mode == "none":
        return
    key = f'train.sharding is "{recipe.train.sharding}"' + (f', here "{mode}"' if recipe.train.sharding != mode else "")
    if recipe.train.optimizer != "adamw":
        raise ConfigError(
            f'{key}, and the moments of train.optimizer "{recipe.train.optimizer}" cannot be cut into parts; set it to '
            '"adamw"'
        )
    if isinstance(recipe, GrpoRecipe) and recipe.rollout.twin is False:
        raise ConfigError(f"{key}, and nothing can be drawn from parts; remove rollout.twin")
    if mode == "hybrid" and accelerator.num_processes % local_processes():
        raise ConfigError(
            f"{key}, which needs the same number of processes on every node; there are {accelerator.num_processes} in "
            f"all, and {local_processes()} on this one"
        )


def _check_lora(model: ModelConfig, config: LoraConfig) -> None:
    if config.vision and not model.train_vision:
        raise ConfigError("lora.vision puts adapters into the vision tower, which model.train_vision = false freezes")
    if lora.is_adapter(resolve_model_path(model.path)):
        raise ConfigError(
            f"model.path {model.path} is an adapter, and [lora] would put a second one on it; start from its base or "
            "from a merged model, or continue its own run with --resume"
        )


def _check_bfloat16_weights(recipe: TrainRecipe) -> None:
    if lora.is_adapter(resolve_model_path(recipe.model.path)):
        raise ConfigError(
            f"model.path {recipe.model.path} is an adapter, which is merged into float32 weights only; set "
            'train.weights to "float32", or start from a merged model'
        )
    if recipe.lora is not None:
        raise ConfigError(
            'train.weights "bfloat16" is for training all weights; adapters are always float32 and the frozen weights '
            "beside them are in model.dtype: remove train.weights or [lora]"
        )
    if recipe.train.optimizer != "adamw_8bit" or recipe.model.dtype != "bfloat16":
        raise ConfigError(
            'train.weights "bfloat16" needs train.optimizer "adamw_8bit", which rounds stochastically (plain rounding '
            'loses steps as small as these), and model.dtype "bfloat16"'
        )
