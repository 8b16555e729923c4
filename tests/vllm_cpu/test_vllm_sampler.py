"""A real server of vLLM as the sampler of GRPO, on a CPU: `make test-vllm`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.data.sources.select import load_questions
from sbr.errors import CheckpointError, EndpointError
from sbr.frames.load import load_frames
from sbr.mini.build import build
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder
from sbr.rollout.engine import Question
from sbr.rollout.sampling import Sampling

pytest.importorskip("vllm", reason="vLLM is not installed")

from sbr.rollout.vllm_sampler import VllmSampler, open_vllm

SAMPLING = Sampling(max_new_tokens=24)
GAP = 1e-4
"""Mean difference of log-probabilities that float32 may show; faults begin at 3e-3."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini")
    build(root, train=12, val=4, seed=0, workers=1)
    return root


@pytest.fixture(scope="module")
def make(root: Path) -> Callable[..., GrpoRecipe]:
    def make(folder: Path, changes: dict[str, Any] | None = None) -> GrpoRecipe:
        values: dict[str, Any] = {
            "output_dir": folder,
            "model": {"path": "sbr:mini", "dtype": "float32"},
            "data": {"root": root},
            "frames": {"height": 84, "width": 84},  # 8 steps in time on 3 x 3 visual tokens
            "prompt": {"max_tokens": 1024},
            "rollout": {"sampler": "vllm", "group_size": 4, "max_new_tokens": 24, "vllm": {"eager": True}},
            "train": {"prompts_per_step": 4, "prompts_per_microbatch": 2, "max_steps": 2, "learning_rate": 1e-3},
            "algo": {"name": "grpo", "beta": 0.0},
            "log": {"completions_every": 1},
        }
        for key, value in (changes or {}).items():
            section, _, name = key.rpartition(".")
            place = values
            for part in section.split("."):
                place = place.setdefault(part, {})
            place[name] = value
        return validate(GrpoRecipe, values, "test")

    return make


@pytest.fixture(scope="module")
def questions(make, root, tmp_path_factory) -> list[Question]:
    recipe = make(tmp_path_factory.mktemp("unused"))
    samples = load_questions(recipe.data, "L1", None)[:3]
    return [Question(sample, load_frames(sample, recipe.frames), seed=i) for i, sample in enumerate(samples)]


@pytest.fixture(scope="module")
def prompts(make, questions, tmp_path_factory):
    encoder = PromptEncoder(load_processor("sbr:mini"), make(tmp_path_factory.mktemp("unused")).prompt)
    return [encoder.encode(question.sample, question.frames) for question in questions]


@pytest.fixture(scope="module")
def model(make, tmp_path_factory):
    return load_model(make(tmp_path_factory.mktemp("unused")).model, CPU)


@pytest.fixture(scope="module")
def sampler(make, model, tmp_path_factory) -> Iterator[VllmSampler]:
    sampler = open_vllm(model, load_processor("sbr:mini"), make(tmp_path_factory.mktemp("served")))
    yield sampler
    for server in sampler._servers:
        server.close()


def tokens(groups: Any) -> list[list[tuple[int, ...]]]:
    return [[one.token_ids for one in group] for group in groups]


def gap(model: Any, prompts: Any, groups: Any, temperature: float = 1.0) -> float:
    """Mean difference between the log-probabilities that were drawn with and those of `model`."""
    with torch.no_grad():
        found = completion_logprobs(model, prompts, tokens(groups), temperature)
    drawn = torch.cat([torch.tensor(one.logprobs) for group in groups for one in group])
    return float((found.logprobs_BL[found.mask_BL] - drawn).abs().mean())


def drawn(sampler, model, questions, prompts, temperature=1.0):
    with sampler.present(lambda: nullcontext(model)):
        return sampler.sample(questions, prompts, 4, replace(SAMPLING, temperature=temperature))


def test_it_draws_from_the_policy_again_and_again(sampler, model, questions, prompts) -> None:
    first = drawn(sampler, model, questions, prompts)
    assert gap(model, prompts, first) < GAP
    assert all(len(group) == 4 for group in first)
    assert any(len({one.text for one in group}) > 1 for group in first)
    assert tokens(drawn(sampler, model, questions, prompts)) == tokens(first)
    other = drawn(sampler, model, [replace(questions[0], seed=99)], prompts[:1])
    assert tokens(other) != tokens(first[:1])


@pytest.mark.parametrize("part", ["visual", "language_model"])
def test_it_follows_weights_and_caches_nothing_of_older_ones(sampler, model, questions, prompts, part) -> None:
    """Vision alone too: features of the same pictures are kept by vLLM under their names."""
    before = drawn(sampler, model, questions, prompts)
    kept = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if f".{part}." in name:
                weight.mul_(1 + 0.2 * torch.randn_like(weight))
    try:
        assert gap(model, prompts, before) > 30 * GAP, "the change is one that can be seen"
        assert gap(model, prompts, drawn(sampler, model, questions, prompts)) < GAP
        sampler._whole = lambda: nullcontext(model)  # compare as in the first rollout, with weights not handed over
        with torch.no_grad():
            model.lm_head.weight.mul_(1.1)
        with pytest.raises(CheckpointError, match=r"differ from those of the training pass by .* most at token \d+ of"):
            sampler.sample(questions, prompts, 4, SAMPLING)
    finally:
        sampler._whole = None
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(kept[name])
    assert gap(model, prompts, drawn(sampler, model, questions, prompts)) < GAP


def test_another_prompt_is_noticed(sampler, model, questions, prompts) -> None:
    others = prompts[0].input_ids_S.clone()
    others[-1] += 1
    with pytest.raises(EndpointError, match=r"reads a prompt of (\d+) tokens, training one of \1; they part at \d+"):
        drawn(sampler, model, questions[:1], [replace(prompts[0], input_ids_S=others)])


@pytest.mark.parametrize("temperature", [0.01, 0.7, 2.0])
def test_it_draws_at_the_temperature_of_the_recipe(
    sampler, make, model, questions, prompts, tmp_path, temperature
) -> None:
    (server,) = sampler._servers
    recipe = make(tmp_path, {"rollout.temperature": temperature, "rollout.vllm.urls": [server.url]})
    tempered = open_vllm(model, load_processor("sbr:mini"), recipe)
    try:
        found = drawn(tempered, model, questions, prompts, temperature)
    finally:
        server.call("draw_at", "1.0")
    assert gap(model, prompts, found, temperature) < GAP
    assert gap(model, prompts, found) > 30 * GAP, "another policy than that of temperature 1"
    likely = min(min(one.logprobs) for group in found for one in group)
    assert likely > -20, "drawn at it too: 715 tokens together have e^-13 below that"
    assert temperature == 0.01 or any(len(set(group)) > 1 for group in tokens(found))


def launched(recipe: GrpoRecipe, folder: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    from test_train_grpo import write_toml

    file = write_toml(recipe, folder / "recipe.toml")
    words = [sys.executable, "-m", *launcher, "sbr", "grpo", str(file)]
    return subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


def test_two_sharded_processes_share_a_server_that_runs_elsewhere(sampler, make, tmp_path) -> None:
    """LoRA: what is handed over has the adapters in it."""
    (server,) = sampler._servers
    changes = {"train.sharding": "full", "lora.rank": 4, "train.learning_rate": 1e-2, "rollout.vllm.urls": [server.url]}
    changes["rollout.vllm.weights_folder"] = str(tmp_path / "shared")
    done = launched(
        make(tmp_path / "run", changes),
        tmp_path,
        *("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "--"),
    )
    assert done.returncode == 0, done.stderr
    import json

    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(line["rollout_mismatch"] < GAP for line in lines), "after an update too"
    assert lines[0]["grad_norm"] > 0
    assert not list((tmp_path / "shared").iterdir())


def children(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def assert_ended(group: int) -> None:
    deadline = time.monotonic() + 60
    while alive := living(group):
        assert time.monotonic() < deadline, f"{alive} are still there"
        time.sleep(0.2)


def living(group: int) -> list[str]:
    """Processes of a group that are no zombies."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError, FileNotFoundError):
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if os.getpgid(int(entry.name)) == group and state != "Z":
                found.append(entry.name)
    return found


def test_a_server_that_dies_is_named_and_ends_the_run(make, model, questions, prompts, tmp_path) -> None:
    sampler = open_vllm(model, load_processor("sbr:mini"), make(tmp_path))
    (server,) = sampler._servers
    assert server._started is not None
    (vllm,) = children(server._started.pid)
    os.kill(vllm, signal.SIGKILL)
    server._started.wait(30)
    with pytest.raises(EndpointError, match=r"vLLM, started by this run, has ended with status 137; continue with"):
        drawn(sampler, model, questions, prompts)
    assert_ended(vllm)


def test_it_ends_with_the_run_however_that_ends(make, tmp_path) -> None:
    from test_train_grpo import write_toml

    file = write_toml(make(tmp_path / "run", {"train.max_steps": 1000}), tmp_path / "recipe.toml")
    with subprocess.Popen([sys.executable, "-m", "sbr", "grpo", str(file)], stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.1)
        assert run.poll() is None
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(run.pid)}
        (guard,) = (pid for pid, command in commands.items() if b"api_server" in command)
        (vllm,) = children(guard)
        run.kill()
    assert_ended(vllm)
