"""Several training runs in one launch: `torchrun ... tests/many_runs.py JOBS`, because starting processes is dear.

JOBS is a JSON file: [{"kind": "grpo" | "sft", "recipe": file.toml, "resume": bool}, ...].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, PartialState

from sbr.config.load import load_recipe
from sbr.config.recipes import GrpoRecipe, SftRecipe
from sbr.train.grpo.loop import train_grpo
from sbr.train.sft.loop import train_sft


def main() -> None:
    torch.set_num_threads(1)
    end, PartialState.destroy_process_group = PartialState.destroy_process_group, lambda self, group=None: None
    for job in json.loads(Path(sys.argv[1]).read_text()):
        file = Path(job["recipe"])
        if job["kind"] == "grpo":
            train_grpo(load_recipe(GrpoRecipe, file), job["resume"])
        else:
            train_sft(load_recipe(SftRecipe, file), job["resume"])
        AcceleratorState._reset_state()  # the next run may have another precision
    end(PartialState())


if __name__ == "__main__":
    main()
