"""Two processes with the weights in parts (FSDP2 on gloo) against one process: what is learned, saved and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_train_grpo as whole
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from sbr.config.recipes import GrpoRecipe
from sbr.train.grpo.loop import train_grpo

model_dir, data_root, make_recipe = whole.model_dir, whole.data_root, whole.make_recipe  # fixtures
MANY_RUNS = Path(__file__).parents[1] / "many_runs.py"
STEPS = 3
COMMON = {
    "train.prompts_per_step": 4,
    "train.prompts_per_microbatch": 1,
    "train.max_steps": STEPS,
    "train.save_every": 2,
    "train.warmup_ratio": 0.0,
    "log.completions_every": 1,
}
GRPO: dict[str, dict[str, Any]] = {
    "grpo": {},
    "dapo": {"algo": {"name": "dapo", "extra_rounds": 2}},
    "care": {"algo": {"name": "grpo_care", "ema_decay": 0.5, "ema_every": 1}},
    "lora": {"lora": {"rank": 4}, "train.learning_rate": 1e-2},
    "bfloat16": {"model.dtype": "bfloat16"},
}


def launch(jobs: list[dict[str, Any]], folder: Path, processes: int = 2) -> None:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes))
    done = whole.launch(*torchrun, MANY_RUNS, folder / "jobs.json")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def pairs(make_recipe, tmp_path_factory) -> dict[str, tuple[GrpoRecipe, GrpoRecipe]]:
    folder = tmp_path_factory.mktemp("pairs")
    found, jobs = {}, []
    for name, changes in GRPO.items():
        one = make_recipe(folder / f"{name}-one", {**COMMON, **changes})
        two = make_recipe(folder / f"{name}-two", {**COMMON, **changes, "train.sharding": "full"})
        found[name] = one, two
        file = whole.write_toml(two, folder / f"{name}.toml")
        jobs.append({"kind": "grpo", "recipe": str(file), "resume": False})
    launch(jobs, folder)
    return found


@pytest.mark.parametrize("name", GRPO)
def test_parts_learn_what_a_whole_learns(pairs, name):
    one, two = pairs[name]
    AcceleratorState._reset_state(reset_partial_state=True)
    train_grpo(one, resume=False)
    AcceleratorState._reset_state(reset_partial_state=True)
    first, second = (whole.repeatable(run.output_dir) for run in (one, two))
    for line, other in zip(first, second, strict=True):
        print(name, {k: (line[k], other[k]) for k in ("loss", "grad_norm", "kl", "entropy", "rollout_mismatch")})
    a, b = (load_file(next((run.output_dir / "final").glob("*.safetensors"))) for run in (one, two))
    assert a.keys() == b.keys()
    print(name, max(float((a[k].float() - b[k].float()).abs().max()) for k in a))
