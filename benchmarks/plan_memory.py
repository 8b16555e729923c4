"""What `sbr plan` says of a training pass on a CPU, and what the pass takes; prints a table.  Linux only.

    python benchmarks/plan_memory.py

Every pass runs in a fresh process, on random weights, through the training loop's own functions (forward, loss,
backward, clipping).  Both figures are of the pass alone: measured is the high-water mark of resident memory during the
pass minus what was resident before it; planned is the largest phase of the plan minus what is there all the time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import tyro
from geometry import SIZES
from rich.console import Console
from rich.table import Table

from sbr.algo.select import select
from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.model import lora
from sbr.model.load import load_model
from sbr.plan.inputs import make_prompt, text_token
from sbr.plan.stand_in import Cluster, IdleOptimizer, StandIn
from sbr.plan.step import Assumed, step_cost
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.sharding import META
from sbr.train.trainer import Policy, Trainer
from sbr.types import Completion, RolloutGroup

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "image_token_id": 6,
    "video_token_id": 7,
    "vision_start_token_id": 3,
    "vision_end_token_id": 4,
}


@dataclass(frozen=True)
class Pass:
    """One pass; the sizes are those of benchmarks/geometry.py."""

    size: str = "30M"
    lora: bool = False
    checkpointing: bool = False
    dtype: str = "float32"
    frames: int = 16
    group_size: int = 8
    tokens: int = 64
    folder: str = ""
    """Holds config.json; with it the pass is run and measured, and JSON printed."""


def write_config(size: str, folder: Path) -> Path:
    """config.json of a size, all that a plan needs."""
    found = SIZES[size]
    half = found.hidden // found.heads // 2
    text = {
        "model_type": "qwen2_vl_text",
        "vocab_size": found.vocabulary,
        "hidden_size": found.hidden,
        "intermediate_size": found.intermediate,
        "num_hidden_layers": found.layers,
        "num_attention_heads": found.heads,
        "num_key_value_heads": found.key_heads,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [half // 4, half * 3 // 8, half * 3 // 8],
        },
        "tie_word_embeddings": found.tied,
    }
    vision = {
        "model_type": "qwen2_vl_vision",
        "depth": found.vision_layers,
        "embed_dim": found.vision_hidden,
        "hidden_size": found.hidden,
        "num_heads": found.vision_heads,
    }
    config = CONFIG | {"text_config": text, "vision_config": vision, "tie_word_embeddings": found.tied}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return folder


def recipe_of(work: Pass, folder: str) -> GrpoRecipe:
    values: dict[str, Any] = {
        "model": {"path": folder, "dtype": work.dtype, "gradient_checkpointing": work.checkpointing},
        "data": {"root": "none"},
        "output_dir": "none",
        "frames": {"max_frames": work.frames},
        "rollout": {"group_size": work.group_size, "max_new_tokens": work.tokens},
        "algo": {"name": "grpo", "beta": 0.0},
        "train": {"prompts_per_step": 1},
    }
    return validate(GrpoRecipe, values | ({"lora": {"rank": 64}} if work.lora else {}), "benchmark")


def planned(work: Pass, folder: str) -> int:
    """Bytes of the pass alone."""
    cost = step_cost(recipe_of(work, folder), Cluster(), Assumed(164, work.tokens, work.group_size))
    parts = cost.phases["update"].parts
    return sum(size for part, size in parts.items() if part not in ("weights", "optimizer"))


def measured(work: Pass, folder: str) -> int:
    """The same of the real pass, in a process of its own."""
    values = asdict(work) | {"folder": folder}
    words = [word for name, value in values.items() for word in _words(name, value)]
    # Without these the C library keeps freed blocks of up to 32 MB, and what is resident says little.
    kept = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, env=os.environ | kept)
    if done.returncode:
        raise RuntimeError(f"{work} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _words(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def _measure(work: Pass) -> int:
    recipe = recipe_of(work, work.folder)
    model: Any = load_model(recipe.model.model_copy(update={"dtype": "float32"}), META)
    torch.manual_seed(0)
    # Weights alone: Module.to_empty would empty the rotary frequencies too, which are there already.
    model._apply(lambda part: torch.randn(part.shape) * 0.02 if part.is_meta else part)
    model.tie_weights()
    if recipe.lora is not None:
        model.to(getattr(torch, work.dtype))
        lora.add_adapter(model, recipe.lora, work.folder, 0)
        for weight in model.parameters():
            weight.data = torch.randn_like(weight) * 0.02
    accelerator: Any = StandIn(Cluster(), work.dtype, torch.Tensor.backward)
    policy = Policy(model, 1.0, accelerator.autocast)
    trainer = Trainer(accelerator, policy, None, None, cast(Any, IdleOptimizer()), cast(Any, None))
    _run(trainer, recipe, 2, 2)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    _run(trainer, recipe, work.frames, work.tokens)
    return _status("VmHWM") - before


def _run(trainer: Trainer, recipe: GrpoRecipe, frames: int, tokens: int) -> None:
    prompt = make_prompt(trainer.model, recipe.frames.model_copy(update={"max_frames": frames, "min_frames": 2}), 164)
    noise = {
        name: torch.rand(tuple(cast(torch.Tensor, getattr(prompt, name)).shape))
        for name in ("pixel_values", "pixel_values_videos")
    }
    prompt = replace(prompt, **noise)
    answer = Completion((text_token(trainer.model),) * tokens, (0.0,) * tokens, "", True)
    rows = recipe.rollout.group_size
    groups = [RolloutGroup(cast(Any, None), prompt, (answer,) * rows)]
    advantages = torch.linspace(-1, 1, rows)[None]
    algorithm = select(recipe.algo, tokens)
    update(trainer, algorithm, make_microbatches(trainer, algorithm, groups, advantages, 1, 1), 1.0, 1)
    for weight in trainer.model.parameters():
        weight.grad = None


def _status(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def main(sizes: tuple[str, ...]) -> None:
    table = Table(title="MB of a training pass")
    for column in ("pass", "planned", "measured", "planned / measured"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = str(write_config(size, Path(folder) / size))
            for adapted in (False, True):
                for checkpointing in (False, True):
                    work = Pass(size, adapted, checkpointing)
                    plan, real = planned(work, path), measured(work, path)
                    name = f"{size} {'LoRA' if adapted else 'full'}{', checkpointing' if checkpointing else ''}"
                    table.add_row(name, f"{plan / 1e6:,.0f}", f"{real / 1e6:,.0f}", f"{plan / real:.3f}")
                    Console(stderr=True).print(name, plan, real, f"{plan / real:.3f}")
    Console().print(table)


@dataclass(frozen=True)
class Args:
    sizes: tuple[str, ...] = ("30M", "100M")


if __name__ == "__main__":
    if "--folder" in sys.argv:
        print(json.dumps(_measure(tyro.cli(Pass))))
    else:
        main(tyro.cli(Args, description=__doc__).sizes)
