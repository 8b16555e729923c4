"""Several pieces of training in one launch: `torchrun ... tests/many_runs.py JOBS`, because starting processes is dear.

JOBS is a JSON file: [{"kind": "grpo" | "sft" | "media", "recipe": file.toml, "resume": bool,
"environment": {...}}, ...].  "media" is two
updates in which the last process has no picture and no signal, and the others have both; the norm of its gradient and
the weights after it go to media.pt in the folder of the recipe.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from sbr.algo.select import select
from sbr.config.load import load_recipe
from sbr.config.recipes import GrpoRecipe, SftRecipe
from sbr.prompt.encode import PromptEncoder
from sbr.train.grpo.loop import train_grpo
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.setup import make_accelerator, make_trainer
from sbr.train.sft.loop import train_sft
from sbr.types import Completion, Frames, RolloutGroup, Sample

GROUPS = 4


def media_group(encoder: PromptEncoder, number: int, pictures: bool) -> RolloutGroup:
    """Three completions of different lengths; `pictures` or none at all."""
    draw = np.random.default_rng(number)
    side = 2 * encoder.size_factor
    pixels = draw.integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    path = Path("nowhere") if pictures else None
    sample = Sample(
        *(str(number), "L1", "d", None, "E", "P", path, path, "make tea", "What next?", ("a", "b", "c", "d"), "A")
    )
    frames = Frames(pixels[:4], pixels[4], (0, 1, 2, 3), 2.0, 4) if pictures else Frames(None, None, (), None, 0)
    tokens = [tuple(draw.integers(10, 250, length).tolist()) for length in (2, 5, 3 + number)]
    completions = tuple(Completion(ids, tuple(-1.0 for _ in ids), "", False) for ids in tokens)
    return RolloutGroup(sample, encoder.encode(sample, frames), completions)


def media(recipe: GrpoRecipe, accelerator: Accelerator) -> None:
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    trainer = make_trainer(recipe, accelerator, 4, None, algorithm)
    encoder = PromptEncoder(trainer.processor, recipe.prompt)
    groups = [media_group(encoder, number, pictures=number < GROUPS // 2) for number in range(GROUPS)]
    advantages_PG = torch.tensor([[1.0, -0.5, -0.5], [0.2, 0.3, -0.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    share = GROUPS // accelerator.num_processes
    own = slice(share * accelerator.process_index, share * (accelerator.process_index + 1))
    batches = make_microbatches(trainer, algorithm, groups[own], advantages_PG[own], 1, updates=2)
    norms = [update(trainer, algorithm, batches, 1.0, step)[1] for step in (1, 2)]
    with trainer.whole() as model:
        weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    if accelerator.is_main_process:
        recipe.output_dir.mkdir(parents=True)
        torch.save({"norms": norms, "weights": weights}, recipe.output_dir / "media.pt")


def run(job: dict[str, Any]) -> None:
    file, resume = Path(job["recipe"]), job["resume"]
    match job["kind"]:
        case "grpo":
            train_grpo(load_recipe(GrpoRecipe, file), resume)
        case "sft":
            train_sft(load_recipe(SftRecipe, file), resume)
        case "media":
            recipe = load_recipe(GrpoRecipe, file)
            media(recipe, make_accelerator(recipe))
    AcceleratorState._reset_state()  # the next one may have another precision


def main() -> None:
    torch.set_num_threads(1)
    end, PartialState.destroy_process_group = PartialState.destroy_process_group, lambda self, group=None: None
    for job in json.loads(Path(sys.argv[1]).read_text()):
        with patch.dict(os.environ, job["environment"]):
            run(job)
    end(PartialState())


if __name__ == "__main__":
    main()
