"""Two processes against one: weights in parts (FSDP2 on gloo) or a copy on each; what is learned, saved and resumed."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import forked
import many_runs
import pytest
import test_train_grpo as whole
import test_train_sft as sft
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from sbr.config.recipes import TrainRecipe

model_dir, make_recipe = whole.model_dir, whole.make_recipe  # fixtures
data_root = sft.data_root


@pytest.fixture(scope="module")
def make_sft_recipe(model_dir, data_root):
    return sft.make_recipe.__wrapped__(model_dir, data_root)


@pytest.fixture(scope="module")
def make_cold(make_sft_recipe):
    return sft.make_cold.__wrapped__(make_sft_recipe)


SHORT = {
    "train.prompts_per_step": 4,
    "train.prompts_per_microbatch": 1,
    "train.max_steps": 2,
    "train.save_every": 2,
    "train.warmup_ratio": 0.0,
    "log.completions_every": 1,
}
PARTS, COPIES = "full", "none"
GRPO: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo, two updates": (PARTS, {"algo.updates_per_rollout": 2}),
    "grpo_care": (PARTS, {"algo": {"name": "grpo_care", "ema_decay": 0.5, "ema_every": 1}}),
    "lora": (PARTS, {"lora.rank": 4, "lora.vision": True, "train.learning_rate": 1e-2}),
    "hybrid": ("hybrid", {"train.max_steps": 1}),
    "dapo, cut groups": (
        PARTS,
        {"algo": {"name": "dapo", "extra_rounds": 2}, "train.completions_per_microbatch": 3, "train.max_steps": 1},
    ),
    "dapo, copies": (COPIES, {"algo": {"name": "dapo", "extra_rounds": 2}, "train.max_steps": 1}),
    "gspo, checkpointing, frozen tower": (
        PARTS,
        {
            "algo": {"name": "gspo"},
            "model.gradient_checkpointing": True,
            "model.train_vision": False,
            "train.max_steps": 1,
        },
    ),
    "bfloat16": (PARTS, {"model.dtype": "bfloat16"}),
    "dr_grpo": (PARTS, {"algo": {"name": "dr_grpo"}, "train.max_steps": 1}),
    "reg_grpo": (PARTS, {"algo": {"name": "reg_grpo", "updates_per_rollout": 2}, "train.max_steps": 1}),
    "lora, copies": (COPIES, {"lora.rank": 4, "model.gradient_checkpointing": True, "train.max_steps": 1}),
}
SFT: dict[str, dict[str, Any]] = {
    "sft, copies, cut groups": {"train.sharding": COPIES, "train.completions_per_microbatch": 2},
}
COLD = {"train.prompts_per_microbatch": 1, "validation.share": 0.3, "train.learning_rate": 1e-3}
FIGURES = (
    *("step", "loss", "grad_norm", "kl", "reward_mean", "replaced_groups", "tokens_mean", "importance_mean"),
    *("held_out_loss", "rows"),
)
MEDIA = ("qwen2_5_vl", "qwen3_vl", "qwen2_vl tied")
RESUMED = ("grpo, two updates", "lora")
GONE_ON = ("grpo_care", "lora")


def alone(train: Any, *arguments: Any) -> None:
    """In this process, whatever precision the one before had."""
    AcceleratorState._reset_state(reset_partial_state=True)
    train(*arguments)
    AcceleratorState._reset_state(reset_partial_state=True)


def cut_short(source: Path, folder: Path) -> None:
    """The run in `source` as if it had been killed after step 1."""
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "final")
    shutil.rmtree(folder / "checkpoint-2")


@pytest.fixture(scope="module")
def tied(tiny_model_dir, tmp_path_factory) -> Path:
    """The Qwen2-VL with one matrix for embedding and head."""
    folder = tmp_path_factory.mktemp("tied") / "model"
    shutil.copytree(tiny_model_dir, folder)
    model: Any = whole.AutoModelForImageTextToText.from_pretrained(folder, tie_word_embeddings=True)
    model.config.text_config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(make_recipe, make_sft_recipe, make_cold, tiny_model_dirs, tied, data_root, tmp_path_factory):
    """Name -> recipe of the run with one process, of that with two.  All the latter are made in one launch."""
    folder = tmp_path_factory.mktemp("pairs")
    found: dict[str, tuple[Any, Any]] = {}
    jobs: list[dict[str, Any]] = []

    def add(name: str, kind: str, one: Any, two: Any, resume: bool = False) -> None:
        found[name] = one, two
        file = whole.write_toml(two, folder / f"{len(jobs)}.toml")
        # As if the second process were on another node: one part, and a copy of it.
        nodes = {"LOCAL_WORLD_SIZE": "1"} if name == "hybrid" else {}
        jobs.append({"kind": kind, "recipe": str(file), "resume": resume, "environment": nodes})

    for name, (sharding, changes) in GRPO.items():
        cut = {"train.save_every": 1} if name in {*RESUMED, *GONE_ON} else {}
        both = {**SHORT, **changes, **cut, "data.root": data_root}
        one = make_recipe(folder / f"{name}, one", both)
        add(name, "grpo", one, make_recipe(folder / f"{name}, two", {**both, "train.sharding": sharding}))
        alone(whole.train_grpo, one, False)
    for name, changes in SFT.items():
        both = {key: value for key, value in SHORT.items() if key.startswith("train.")}
        one = make_sft_recipe(folder / f"{name}, one", both)
        add(name, "sft", one, make_sft_recipe(folder / f"{name}, two", {**both, **changes}))
        alone(sft.train_sft, one, False)
    sft_part = make_sft_recipe(folder, COLD).model_dump(mode="json")
    cold = {f"cold_start.{part}": sft_part[part] for part in ("train", "validation")} | {"train.max_steps": 1}
    one = make_cold(folder / "cold start, one", cold)
    parts = {"cold_start.train": {**cold["cold_start.train"], "sharding": PARTS}, "train.sharding": PARTS}
    add("cold start", "grpo", one, make_cold(folder / "cold start, two", {**cold, **parts}))
    alone(whole.train_grpo, one, False)
    for name in MEDIA:
        both = {"model": {"path": str(tied if "tied" in name else tiny_model_dirs[name]), "dtype": "float32"}}
        both |= {**SHORT, "algo": {"name": "dapo"}, "train.learning_rate": 1e-3}
        one = make_recipe(folder / f"{name}, one", both)
        add(name, "media", one, make_recipe(folder / f"{name}, two", {**both, "train.sharding": PARTS}))
        alone(lambda recipe: many_runs.media(recipe, many_runs.make_accelerator(recipe)), one)
    for name in RESUMED:
        one, two = found[name]
        resumed = two.model_copy(update={"output_dir": folder / f"{name}, resumed by two"})
        cut_short(one.output_dir, resumed.output_dir)
        add(f"{name}, resumed by two", "grpo", one, resumed, resume=True)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with forked.torchrun(many_runs.__file__, folder / "jobs.json") as run:
        assert run.wait() == 0, run.output[-4000:]
    return found


def assert_alike(one: TrainRecipe, two: TrainRecipe) -> None:
    """Up to rounding, which Adam carries on."""
    lines, others = (whole.repeatable(run.output_dir) for run in (one, two))
    for line, other in zip(lines, others, strict=True):
        numbers, theirs = (
            {key: found[key] for key in FIGURES if found.get(key) is not None} for found in (line, other)
        )
        assert numbers == pytest.approx(theirs, rel=1e-3, abs=2e-6)
    files = [next((run.output_dir / "final").glob("*.safetensors")) for run in (one, two)]
    weights, theirs = map(load_file, files)
    assert weights.keys() == theirs.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-4, rtol=0, msg=name)


@pytest.mark.parametrize("name", [*GRPO, *SFT])
def test_two_processes_learn_what_one_learns(pairs, name):
    assert_alike(*pairs[name])


def test_the_cold_start_in_parts_too(pairs):
    """Processes have unequal numbers of responses and tokens; the mean of SFT is over the tokens of all."""
    one, two = pairs["cold start"]
    for part in (Path("cold_start"), Path()):
        assert_alike(*(run.model_copy(update={"output_dir": run.output_dir / part}) for run in (one, two)))


@pytest.mark.parametrize("name", RESUMED)
def test_two_processes_go_on_where_one_stopped(pairs, name):
    assert_alike(*pairs[f"{name}, resumed by two"])


@pytest.mark.parametrize("name", GONE_ON)
def test_one_process_goes_on_where_two_stopped(pairs, name, tmp_path):
    one, two = pairs[name]
    resumed = one.model_copy(update={"output_dir": tmp_path / "run"})
    cut_short(two.output_dir, resumed.output_dir)
    alone(whole.train_grpo, resumed, True)
    assert_alike(one, resumed)


@pytest.mark.parametrize("name", MEDIA)
def test_a_process_without_pictures_and_without_signal(pairs, name):
    one, two = (torch.load(recipe.output_dir / "media.pt") for recipe in pairs[name])
    assert two["norms"] == pytest.approx(one["norms"], rel=1e-5)
    assert all(norm > 0 for norm in one["norms"])
    for key, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][key], weight, atol=1e-5, rtol=0, msg=key)


def test_rollouts_come_from_the_weights_that_are_trained(pairs):
    """Also under autocast, where they are rounded once: as close to the training pass as with one process."""
    for name in ("bfloat16", "grpo, two updates"):
        first, second = (whole.repeatable(run.output_dir) for run in pairs[name])
        for line, other in zip(first, second, strict=True):
            assert other["rollout_mismatch"] == pytest.approx(line["rollout_mismatch"], rel=0.1)


STANDS_STILL = """
import os, time

def rank_one_sleeps(text, sample, tokens):
    if os.environ["RANK"] == "1":
        time.sleep(1000)
    return 0.0
"""


def test_a_process_that_stands_still_is_named_and_ends_the_run(make_recipe, tmp_path, monkeypatch):
    (tmp_path / "stands_still.py").write_text(STANDS_STILL)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(whole.__file__).parents[2] / 'src'}")
    changes = {
        **SHORT,
        "train.sharding": PARTS,
        "train.deadline": 0.25,
        "reward.custom": {"stands_still:rank_one_sleeps": 1.0},
    }
    file = whole.write_toml(make_recipe(tmp_path / "run", changes), tmp_path / "recipe.toml")
    with forked.torchrun("-m", "sbr", "grpo", file) as run:
        assert run.wait() != 0
    said = " ".join(re.sub(r"\w+\.py:\d+ *$", "", run.output, flags=re.MULTILINE).split())  # as if in one long line
    expected = "process 1 of 2 has stood still for 0.25 minutes in step 1 / step / reward (train.deadline)"
    assert expected in said, run.output
    assert "in rank_one_sleeps" in said, run.output


def test_kill_9_of_one_process_then_the_same_command_gives_the_same_run(pairs, tmp_path, monkeypatch):
    finished = pairs["grpo, two updates"][1]
    recipe = finished.model_copy(update={"output_dir": tmp_path / "run"})
    file = whole.write_toml(recipe, tmp_path / "recipe.toml")
    with forked.torchrun("-m", "sbr", "grpo", file) as run:
        while run.poll() is None and not (recipe.output_dir / "checkpoint-1").exists():
            time.sleep(0.005)
        victim = random.choice(run.workers)
        victim.kill()
    assert victim.returncode == -signal.SIGKILL, run.output
    assert not (recipe.output_dir / "final").exists()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # a launcher's own repetition needs no --resume
    done = whole.launch(*whole.TORCHRUN, "-m", "--", "sbr", "grpo", file)
    assert done.returncode == 0, done.stderr
    assert "continuing after step 1 of 2" in " ".join(done.stderr.split())
    whole.assert_same_run(recipe.output_dir, finished.output_dir)
