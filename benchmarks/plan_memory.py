"""What `sbr plan` says of a training pass on a CPU, and what the pass takes; prints a table.  Linux only.

    python benchmarks/plan_memory.py
    python benchmarks/plan_memory.py --processes 2    # weights in parts on two processes (FSDP2 over gloo)

Every pass runs in fresh processes, on random weights, through the training loop's own functions: forward, loss,
backward and clipping, or filling the twin and reading the prompt.  Both figures are of the pass alone, on one process:
measured is the high-water mark of resident memory during the pass minus what was resident before it, of the process
that takes most; planned is the phase of the plan minus what is there all the time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

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
from sbr.model.modes import evaluating
from sbr.model.twin import Twin
from sbr.plan.inputs import make_prompt, text_token
from sbr.plan.stand_in import CPU, Cluster, IdleOptimizer, StandIn
from sbr.plan.step import Assumed, step_cost
from sbr.rollout.generate import prefill
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.setup import make_accelerator
from sbr.train.sharding import META, make_mesh, shard
from sbr.train.trainer import Policy, Trainer
from sbr.types import Completion, Prompt, RolloutGroup

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
    processes: int = 1
    """More than one: weights, gradients and moments in parts on all of them."""
    phase: Literal["update", "prefill"] = "update"
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
        "train": {"prompts_per_step": work.processes, "sharding": "full" if work.processes > 1 else "none"},
    }
    return validate(GrpoRecipe, values | ({"lora": {"rank": 64}} if work.lora else {}), "benchmark")


def planned(work: Pass, folder: str) -> dict[str, int]:
    """Bytes of the pass alone, by part."""
    cluster = Cluster(work.processes)
    cost = step_cost(recipe_of(work, folder), cluster, Assumed(164, work.tokens, work.group_size))
    parts = cost.phases[work.phase].parts
    return {part: size for part, size in parts.items() if part not in ("weights", "optimizer")}


def measured(work: Pass, folder: str) -> int:
    """The same of the real pass, in processes of its own; of the one that takes most."""
    values = asdict(work) | {"folder": folder}
    words = [sys.executable, __file__, *(word for name, value in values.items() for word in _words(name, value))]
    # Without these the C library keeps freed blocks of up to 32 MB, and what is resident says little.
    kept = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(work.processes), "LOCAL_WORLD_SIZE": str(work.processes)}
    places = [
        {"RANK": str(n), "LOCAL_RANK": str(n), **shared} if work.processes > 1 else {} for n in range(work.processes)
    ]
    running = [
        subprocess.Popen(words, stdout=-1, stderr=-1, text=True, env=os.environ | kept | place) for place in places
    ]
    ended = [process.communicate() for process in running]
    for process, (_, errors) in zip(running, ended, strict=True):
        if process.returncode:
            raise RuntimeError(f"{work} failed with status {process.returncode}:\n{errors[-2000:]}")
    return max(json.loads(output.splitlines()[-1]) for output, _ in ended)


def _words(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", str(value)]


def _measure(work: Pass) -> int:
    recipe = recipe_of(work, work.folder)
    trainer = _sharded(recipe) if work.processes > 1 else _whole(recipe)
    run = _update if work.phase == "update" else _prefill
    run(trainer, recipe, 2, 2)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    run(trainer, recipe, work.frames, work.tokens)
    return _status("VmHWM") - before


def _structure(recipe: GrpoRecipe) -> Any:
    """Without weights."""
    model: Any = load_model(recipe.model.model_copy(update={"dtype": "float32"}), META)
    if recipe.lora is not None:
        model.to(getattr(torch, recipe.model.dtype))
        lora.add_adapter(model, recipe.lora, recipe.model.path, 0)
    return model


def _whole(recipe: GrpoRecipe) -> Trainer:
    model = _structure(recipe)
    torch.manual_seed(0)
    # Weights alone: Module.to_empty would empty the rotary frequencies too, which are there already.
    model._apply(lambda part: torch.randn(part.shape, dtype=part.dtype) * 0.02 if part.is_meta else part)
    model.tie_weights()
    accelerator: Any = StandIn(Cluster(), recipe.model.dtype, torch.Tensor.backward)
    policy = Policy(model, 1.0, accelerator.autocast)
    return Trainer(accelerator, policy, None, None, cast(Any, IdleOptimizer()), cast(Any, None))


def _sharded(recipe: GrpoRecipe) -> Trainer:
    accelerator = make_accelerator(recipe)
    policy = Policy(_structure(recipe), 1.0, accelerator.autocast)
    shard(policy, make_mesh("full", accelerator))
    policy._apply(lambda part: torch.empty_like(part, device=CPU) if part.is_meta else part)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters():
            cast(Any, weight).to_local().normal_(0, 0.02)
    rounding = getattr(torch, recipe.model.dtype) if recipe.model.dtype != "float32" else None
    twin = Twin(load_model(recipe.model, META), policy.model, CPU, rounding)
    return Trainer(accelerator, policy, None, None, cast(Any, IdleOptimizer()), cast(Any, None), None, twin)


def _prompt(trainer: Trainer, recipe: GrpoRecipe, frames: int) -> Prompt:
    prompt = make_prompt(trainer.model, recipe.frames.model_copy(update={"max_frames": frames, "min_frames": 2}), 164)
    noise = {
        name: torch.rand(tuple(cast(torch.Tensor, getattr(prompt, name)).shape))
        for name in ("pixel_values", "pixel_values_videos")
    }
    return replace(prompt, **noise)


def _update(trainer: Trainer, recipe: GrpoRecipe, frames: int, tokens: int) -> None:
    answer = Completion((text_token(trainer.model),) * tokens, (0.0,) * tokens, "", True)
    rows = recipe.rollout.group_size
    groups = [RolloutGroup(cast(Any, None), _prompt(trainer, recipe, frames), (answer,) * rows)]
    advantages = torch.linspace(-1, 1, rows)[None]
    algorithm = select(recipe.algo, tokens)
    update(trainer, algorithm, make_microbatches(trainer, algorithm, groups, advantages, 1, 1), 1.0, 1)
    for weight in trainer.model.parameters():
        weight.grad = None


def _prefill(trainer: Trainer, recipe: GrpoRecipe, frames: int, tokens: int) -> None:
    prompt = _prompt(trainer, recipe, frames)
    with torch.no_grad(), trainer.whole() as model, evaluating(model):
        prefill(model, [prompt], recipe.rollout.group_size, tokens, static=False)


def _status(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def works(sizes: Sequence[str], processes: int) -> Iterator[tuple[str, Pass]]:
    for size in sizes:
        for adapted in (False, True):
            of = f"{size} {'LoRA' if adapted else 'full'}"
            for checkpointing in (False, True):
                yield (
                    f"{of}{', checkpointing' if checkpointing else ''}",
                    Pass(size, adapted, checkpointing, processes=processes),
                )
            if processes > 1:
                yield f"{of}, twin and prefill", Pass(size, adapted, processes=processes, phase="prefill")


def main(sizes: Sequence[str], processes: int) -> None:
    table = Table(title=f"MB of a pass, {processes} process{'es' if processes > 1 else ''}")
    for column in ("pass", "planned", "measured", "planned / measured"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for name, work in works(sizes, processes):
            path = str(write_config(work.size, Path(folder) / work.size))
            parts, real = planned(work, path), measured(work, path)
            plan = sum(parts.values())
            table.add_row(name, f"{plan / 1e6:,.0f}", f"{real / 1e6:,.0f}", f"{plan / real:.3f}")
            Console(stderr=True).print(
                name, {part: round(size / 1e6) for part, size in parts.items()}, real, plan / real
            )
    Console().print(table)


@dataclass(frozen=True)
class Args:
    sizes: tuple[str, ...] = ("30M", "100M")
    processes: int = 1


if __name__ == "__main__":
    if "--folder" in sys.argv:
        print(json.dumps(_measure(tyro.cli(Pass))))
    else:
        args = tyro.cli(Args, description=__doc__)
        main(args.sizes, args.processes)
