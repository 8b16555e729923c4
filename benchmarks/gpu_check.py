"""Every check that needs a GPU, one after the other, into one JSON file.

    python benchmarks/gpu_check.py --out runs/gpu_check.json                        # all that the file lacks
    python benchmarks/gpu_check.py --out runs/gpu_check.json --minutes 9            # as many as fit; then again
    python benchmarks/gpu_check.py --out runs/gpu_check.json --only parity --again
    python benchmarks/gpu_check.py --out /tmp/gpu_check.json --device cpu           # the same, tiny, on any machine

Each check runs in a process of its own with a time limit, and the file is written after each.  A check that fails, dies
or takes too long is recorded with what it said; the next one runs.  Without --again what the file has is not run again.

Where torch, transformers, accelerate and peft are installed and the rest is not, and nothing can be downloaded, carry
wheels: here (P is the version of Python there)

    pip download -d wheels --only-binary :all: --no-deps --python-version P av pydantic pydantic-core annotated-types \
        typing-inspection typing-extensions tyro docstring-parser typeguard

and there

    python -m pip install --no-index --no-deps --target wheels/site wheels/*.whl
    PYTHONPATH=src:wheels/site python benchmarks/gpu_check.py --out runs/gpu_check.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
GIB = 1 << 30
ENDED_BY_US = -signal.SIGKILL


class SkippedError(Exception):
    """Says why a check cannot be run here."""


@dataclass(frozen=True)
class Scale:
    device: str
    exact: str
    """Size of the model (benchmarks/geometry.py) where numbers are compared."""
    small: str
    large: str
    frames: int
    side: int
    prompts: int
    group_size: int
    tokens: int
    steps: int


SCALES = {
    "cuda": Scale("cuda", "30M", "2B", "7B", frames=16, side=252, prompts=8, group_size=8, tokens=256, steps=3),
    "cpu": Scale("cpu", "tiny", "tiny", "tiny", frames=4, side=56, prompts=2, group_size=4, tokens=8, steps=2),
}


# -- numbers ----------------------------------------------------------------------------------------------------------


def versions(scale: Scale) -> dict[str, Any]:
    """What runs where."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in ("torch", "transformers", "accelerate", "peft", "torchao", "vllm", "triton", "av", "pydantic", "tyro"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    found["cores"] = os.cpu_count()
    if scale.device == "cuda":
        facts = torch.cuda.get_device_properties(0)
        found |= {"device": facts.name, "memory": facts.total_memory, "capability": [facts.major, facts.minor]}
        found |= {"cuda": torch.version.cuda, "devices": torch.cuda.device_count()}
    found["float32_products"] = torch.get_float32_matmul_precision()
    return found


def rates(scale: Scale) -> dict[str, Any]:
    """What the device reaches: large products, and reading and writing its memory."""
    side, numbers = (8192, GIB) if scale.device == "cuda" else (512, 1 << 22)
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        left, right = (torch.randn(side, side, device=scale.device, dtype=dtype) for _ in range(2))
        seconds = min(timed(scale, partial(torch.matmul, left, right)) for _ in range(10))
        found[f"tflops_{dtype}".replace("torch.", "")] = 2 * side**3 / seconds / 1e12
    source = torch.zeros(numbers, device=scale.device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    seconds = min(timed(scale, partial(target.copy_, source)) for _ in range(10))
    return found | {"gigabytes_per_second": 2 * source.nbytes / seconds / 1e9}


def parity(scale: Scale) -> dict[str, Any]:
    """Log-probabilities and gradients of the device in float32 against a CPU's, and how far 16 bits are off."""
    from sbr.model.logprobs import completion_logprobs

    plain, processor = model_of(scale.exact, "cpu")
    prompts, answers = [prompt_of(scale, processor, seed) for seed in range(2)], answers_of(scale, 2)

    def passed(model: Any, dtype: torch.dtype | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        device = model.device.type
        with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
            found = completion_logprobs(model, prompts, answers).logprobs_BL
        found.mean().backward()
        return found.detach().float().cpu(), [w.grad.float().cpu() for w in model.parameters() if w.grad is not None]

    expected, slopes = passed(plain)
    moved = deepcopy(plain).to(scale.device)
    exact, exact_slopes = passed(moved)
    rounded, rounded_slopes = passed(moved, torch.bfloat16)
    sixteen, _ = passed(moved.to(torch.bfloat16))
    found = {
        "float32": {"logprob": largest(exact, expected), "gradient": relative(exact_slopes, slopes)},
        "bfloat16_autocast": {
            "logprob_mean": float((rounded - expected).abs().mean()),
            "logprob": largest(rounded, expected),
            "gradient": relative(rounded_slopes, slopes),
        },
        "bfloat16_weights": {
            "logprob_mean": float((sixteen - expected).abs().mean()),
            "logprob": largest(sixteen, expected),
        },
    }
    return found | {"passed": found["float32"]["logprob"] < 1e-4 and found["float32"]["gradient"] < 1e-3}


def head(scale: Scale) -> dict[str, Any]:
    """The head's float32 logits of 16-bit factors against float64, with gradients."""
    from sbr.model.head import WideHead

    torch.manual_seed(0)
    layer = WideHead(3584, 8192, bias=False, dtype=torch.bfloat16, device=scale.device)
    rows = torch.randn(64, 3584, dtype=torch.bfloat16, device=scale.device, requires_grad=True)
    logits = layer(rows)
    exact = rows.detach().double() @ layer.weight.detach().double().T
    logits.square().mean().backward()
    assert rows.grad is not None and layer.weight.grad is not None
    found = {"dtype": str(logits.dtype), "error": largest(logits.detach(), exact)}
    return found | {"passed": logits.dtype == torch.float32 and found["error"] < 1e-4 * float(exact.abs().max())}


def generation(scale: Scale) -> dict[str, Any]:
    """Greedy tokens against `generate` of transformers, float32; compiled and recorded decoding against ours."""
    from schedules import plain_inputs

    from sbr.model.equip import equip
    from sbr.model.tokens import TokenRules
    from sbr.rollout.generate import generate
    from sbr.rollout.sampling import Sampling

    plain, processor = model_of(scale.exact, scale.device, equipped=False)
    ours = deepcopy(plain)
    equip(ours)
    rules = TokenRules.of(ours, processor.tokenizer)
    rules = replace(rules, banned=(*rules.banned, *rules.ends))  # every answer is as long as it may be
    prompts = [prompt_of(scale, processor, seed) for seed in range(2)]
    asked = partial(generate, tokenizer=processor.tokenizer, prompts=prompts, seeds=range(2), rules=rules)
    greedy = Sampling(0.0, 1.0, 0, scale.tokens)
    theirs = []
    for prompt in prompts:
        inputs: dict[str, Any] = plain_inputs(prompt, None, 1, plain.device)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": scale.tokens}
        settings["suppress_tokens"] = list(rules.banned)
        theirs.append(plain.generate(**inputs, **settings)[0, len(prompt) :].tolist())
    found = tokens_of(asked(ours, group_size=1, sampling=greedy))
    compiled = tokens_of(asked(ours, group_size=1, sampling=greedy, compiled=True))
    sixteen = ours.to(torch.bfloat16)
    half = tokens_of(asked(sixteen, group_size=1, sampling=greedy))
    half_compiled = tokens_of(asked(sixteen, group_size=1, sampling=greedy, compiled=True))
    found = {
        "equal_to_transformers": agreement(found, theirs),
        "compiled_equal": agreement(compiled, found),
        "bfloat16_equal_to_float32": agreement(half, found),
        "bfloat16_compiled_equal": agreement(half_compiled, half),
    }
    if scale.device == "cuda":
        found["bfloat16_graphs_equal"] = agreement(
            tokens_of(asked(sixteen, group_size=1, sampling=greedy, graphs=True)), half
        )
    return found | {"passed": found["equal_to_transformers"] == found["compiled_equal"] == 1.0}


def attention(scale: Scale) -> dict[str, Any]:
    """A training pass under each of torch's kernels: which take it, seconds, and how far from the plain one."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from sbr.model.logprobs import completion_logprobs

    model, processor = model_of(scale.exact, scale.device)
    model.to(torch.bfloat16)
    prompts, answers = [prompt_of(scale, processor, 0)], answers_of(scale, 1)

    def work() -> torch.Tensor:
        model.zero_grad()
        found = completion_logprobs(model, prompts, answers).logprobs_BL
        found.mean().backward()
        return found.detach()

    names = ("MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION")
    kinds = {"free choice": list(SDPBackend.__members__.values()) or [], **{n: [getattr(SDPBackend, n)] for n in names}}
    kinds["free choice"] = [kind for kind in kinds["free choice"] if kind.name in names]
    with sdpa_kernel(SDPBackend.MATH):
        expected = work()
    found: dict[str, Any] = {}
    for name, backends in kinds.items():
        try:
            with sdpa_kernel(backends):
                gap = largest(work(), expected)
                found[name] = {"seconds": min(timed(scale, work) for _ in range(3)), "logprob": gap}
        except RuntimeError as error:
            found[name] = {"refused": str(error).strip().splitlines()[-1]}
    return found | {"kernels": kernels(scale, work)}


def recorded_attention(scale: Scale) -> dict[str, Any]:
    """Attention as `sbr analyze attention` records it: against a CPU, and what it adds to a pass of the large model."""
    from sbr.analysis.attention import middle_third
    from sbr.config.recipes import GrpoRecipe
    from sbr.model.record_attention import AttentionRecorder
    from sbr.model.shared_prefix import pack, packed_hidden_states
    from sbr.train import setup

    def forward(model: Any, prompts: list[Any], answers: list[list[list[int]]], records: bool) -> list[Any]:
        row, layers = pack(model, prompts, answers), model.config.text_config.num_hidden_layers
        recorder = AttentionRecorder(row, prompts, answers, range(layers), middle_third(layers)) if records else None
        with torch.no_grad():
            packed_hidden_states(model, prompts, row, layout=recorder)
        return recorder.recorded if recorder else []

    plain, processor = model_of(scale.exact, "cpu")
    prompts, answers = [prompt_of(scale, processor, seed) for seed in range(2)], answers_of(scale, 2)
    expected = forward(plain, prompts, answers, True)
    found = forward(plain.to(scale.device), prompts, answers, True)
    gaps = [
        max(largest(a.shares_lN4.cpu(), b.shares_lN4), largest(a.tokens_NV.cpu(), b.tokens_NV))
        for a, b in zip(found, expected, strict=True)
    ]
    one, figures = [[answers[0][0]]], {"weights": max(gaps), "passed": max(gaps) < 1e-5}
    with made_recipe(scale, "large", GrpoRecipe, {}) as recipe, random_weights():
        model = setup.load_model(recipe.model, torch.device(scale.device)).eval()
    for name, records in (("plain", False), ("recorded", True)):
        work = partial(forward, model, prompts[:1], one, records)
        work()
        if scale.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            work()
            figures[f"{name}_peak_mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
        figures[f"{name}_seconds"] = min(timed(scale, work) for _ in range(3))
    return figures


def adamw(scale: Scale) -> dict[str, Any]:
    """Fused AdamW, which a run takes on a GPU, against the plain one: weights after five steps, and seconds of one."""
    shapes = [(4096, 4096)] * 8 if scale.device == "cuda" else [(64, 64)] * 2
    after, seconds = {}, {}
    for fused in (False, True):
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(shape, device=scale.device)) for shape in shapes]
        optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=fused, foreach=False)
        for _ in range(5):
            for weight in weights:
                weight.grad = torch.randn_like(weight)
            seconds[fused] = timed(scale, optimizer.step)
        after[fused] = [weight.detach() for weight in weights]
    gap = max(largest(*pair) for pair in zip(after[False], after[True], strict=True))
    return {"weights": gap, "seconds": {"plain": seconds[False], "fused": seconds[True]}, "passed": gap < 1e-6}


# -- runs -------------------------------------------------------------------------------------------------------------


def grpo(scale: Scale, size: str = "small", **changes: Any) -> dict[str, Any]:
    """Steps of GRPO as a run takes them, on random weights: seconds by stage, tokens a second, memory beside the plan.

    `changes` are keys of the recipe, section__key.
    """
    if changes.get("rollout__graphs") and scale.device != "cuda":
        raise SkippedError("CUDA graphs need a GPU")
    from sbr.algo.select import select
    from sbr.config.recipes import GrpoRecipe
    from sbr.prompt.encode import PromptEncoder
    from sbr.train.grpo.loop import GrpoLearner
    from sbr.train.grpo.rollouts import Rollouts
    from sbr.train.learner import Bench, Share
    from sbr.train.setup import make_accelerator, make_trainer

    with made_recipe(scale, size, GrpoRecipe, changes) as recipe, random_weights():
        algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
        accelerator = make_accelerator(recipe)
        trainer = make_trainer(
            recipe, accelerator, 100, None, algorithm, recipe.rollout.temperature, recipe.rollout.twin
        )
        slots, frames = slots_of(scale)
        bench = Bench(trainer, PromptEncoder(trainer.processor, recipe.prompt), lambda shown: frames[0])
        samples = [slot.sample for slot in slots]
        learner = GrpoLearner(recipe, algorithm, bench, Rollouts.of(recipe, algorithm, samples, bench))
        clocks, parts = [], []
        for step in range(1, scale.steps + 1):
            clocks.append(clock := stopwatch(accelerator.device))
            with clock("step"):
                parts.append(learner.take_step(Share(step, slots, frames, clock)))
                trainer.schedule.step()
        tokens = [sum(batch.loss.tokens for batch in part.batches) for part in parts]  # with a KL term all are learned
        seconds, each = later_median(clocks), statistics.fmean(tokens[1:])
        return {
            "trained": sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad),
            "tokens": tokens,
            "seconds": [clock.seconds for clock in clocks],
            "median_seconds": seconds,
            "sampled_tokens_per_second": each / seconds["rollout"],
            "trained_tokens_per_second": each / seconds["update"],
            "twin": trainer.twin is not None,
            "loss": [[batch.loss.loss for batch in part.batches] for part in parts],
            "grad_norm": [list(part.grad_norms) for part in parts],
            "mismatch": [statistics.fmean(batch.mismatch for batch in part.batches) for part in parts],
            **memory(scale, recipe, clocks, seconds, len(bench.encoder.encode(samples[0], frames[0]))),
        }


def sft(scale: Scale, size: str = "small", **changes: Any) -> dict[str, Any]:
    """The same of SFT, one response a question."""
    from sbr.config.recipes import SftRecipe
    from sbr.train.gradients import apply_gradients
    from sbr.train.setup import make_accelerator, make_trainer
    from sbr.train.sft.loop import learn_responses

    with made_recipe(scale, size, SftRecipe, changes) as recipe, random_weights():
        accelerator = make_accelerator(recipe)
        trainer = make_trainer(recipe, accelerator, 100, None, None)
        prompts = [prompt_of(scale, trainer.processor, seed) for seed in range(scale.prompts)]
        responses = [answers[:1] for answers in answers_of(scale, scale.prompts)]
        clocks, losses = [], []
        for step in range(1, scale.steps + 1):
            clocks.append(clock := stopwatch(accelerator.device))
            with clock("step"), clock("update"):
                losses.append(learn_responses(trainer, prompts, responses, recipe.train.prompts_per_microbatch))
                apply_gradients(trainer, recipe.train.max_grad_norm, step)
                trainer.schedule.step()
        seconds = later_median(clocks)
        figures = memory(scale, recipe, clocks, seconds, len(prompts[0]))
        return {"loss": losses, "median_seconds": seconds, **figures, "passed": losses[-1] < losses[0]}


def one_process_sharded(scale: Scale) -> dict[str, Any]:
    """A launch of one process with train.sharding "full": FSDP2 over NCCL with nobody else."""
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533"}
    return grpo(scale, "exact", train__sharding="full")


def two_processes(scale: Scale) -> dict[str, Any]:
    if scale.device == "cuda" and torch.cuda.device_count() > 1:
        raise SkippedError("there are several GPUs, and this check is not written: run torchrun by hand")
    raise SkippedError("NCCL refuses two processes on one GPU")


def miniature(scale: Scale) -> dict[str, Any]:
    """Five steps of GRPO on the miniature, here and on a CPU, float32."""
    from sbr.mini.build import build

    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "data", 40, 1, 0)
        words = ["-m", "sbr", "grpo", str(ROOT / "recipes/mini/grpo.toml"), "--data.root", f"{folder}/data"]
        words += ["--train.max_steps", "5", "--algo.beta", "0.04", "--train.prompts_per_step", "4"]
        lines = {}
        for device in ("cpu", scale.device):
            run = Path(folder) / f"run_{len(lines)}"
            hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
            path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
            done = subprocess.run(
                [sys.executable, *words, "--output_dir", str(run)],
                env={**os.environ, **hidden, "PYTHONPATH": path},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"status {done.returncode} on {device}:\n{done.stderr[-3000:]}")
            lines[len(lines)] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    pairs = list(zip(lines[0], lines[1], strict=True))
    found = {
        name: [abs(a[name] - b[name]) for a, b in pairs] for name in ("loss", "grad_norm", "reward_mean", "entropy")
    }
    return {"difference": found, "cpu": lines[0], "passed": max(found["loss"]) < 1e-3}


def vllm(scale: Scale) -> dict[str, Any]:
    """The suite's own comparison of the vLLM engine with ours."""
    if find_spec("vllm") is None:
        raise SkippedError("not installed")
    words = ["-m", "pytest", "-q", str(ROOT / "tests/parity/test_vllm_engine.py")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    return {"passed": done.returncode == 0, "output": done.stdout[-3000:]}


# -- what checks share ------------------------------------------------------------------------------------------------


def model_of(size: str, device: str, equipped: bool = True) -> tuple[Any, Any]:
    """A model with random float32 weights that a CPU draws, the same on every device, and its processor."""
    from geometry import SIZES, make_model, make_processor

    from sbr.model.equip import equip

    processor = make_processor()
    model = make_model(SIZES[size], processor)
    if equipped:
        equip(model)
    return model.to(torch.device(device)), processor  # pyright: ignore[reportArgumentType]


def prompt_of(scale: Scale, processor: Any, seed: int) -> Any:
    from geometry import make_prompt

    return make_prompt(processor, scale.frames, scale.side, seed)


def answers_of(scale: Scale, prompts: int) -> list[list[list[int]]]:
    drawn = torch.randint(
        20, 600, (prompts, scale.group_size, scale.tokens), generator=torch.Generator().manual_seed(1)
    )
    return drawn.tolist()


def slots_of(scale: Scale) -> tuple[tuple[Any, ...], list[Any]]:
    from geometry import SAMPLE, make_pictures

    from sbr.train.order import Slot
    from sbr.types import Frames

    slots = tuple(Slot(n, replace(SAMPLE, sample_id=str(n)), n) for n in range(scale.prompts))
    drawn = [make_pictures(scale.frames, scale.side, n) for n in range(scale.prompts)]
    times = tuple(range(scale.frames))
    return slots, [Frames(p[: scale.frames], p[scale.frames], times, 2.0, scale.frames) for p in drawn]


def by_chance(text: str, sample: Any, tokens: int) -> float:
    """A reward that every group learns from."""
    return zlib.crc32(text.encode()) % 100 / 100


@contextmanager
def made_recipe(scale: Scale, size: str, kind: Any, changes: dict[str, Any]) -> Iterator[Any]:
    """The recipe of a model that has a structure and no weights."""
    from geometry import SIZES, make_model, make_processor

    from sbr.config.load import validate
    from sbr.config.recipes import GrpoRecipe

    with tempfile.TemporaryDirectory() as folder:
        model = make_model(SIZES[getattr(scale, size)], make_processor(), "meta")
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        values: dict[str, dict[str, Any]] = {
            "model": {"path": folder, "dtype": "bfloat16"},
            "data": {"root": folder},
            "frames": {"max_frames": scale.frames, "height": scale.side, "width": scale.side},
            "train": {"prompts_per_step": scale.prompts},
        }
        if kind is GrpoRecipe:
            values["rollout"] = {"group_size": scale.group_size, "max_new_tokens": scale.tokens}
            values["reward"] = {"custom": {"gpu_check:by_chance": 1.0}}
        else:
            values["data"]["cot_file"] = f"{folder}/none.jsonl"
            values["validation"] = {"max_new_tokens": scale.tokens}
        for key, value in changes.items():
            section, _, name = key.partition("__")
            values.setdefault(section, {})[name] = value
        yield validate(kind, {**values, "output_dir": f"{folder}/run"}, "gpu_check")


@contextmanager
def random_weights() -> Iterator[None]:
    """Inside, a run's model has random weights, drawn where they lie, and the processor of the miniature."""
    from unittest.mock import patch

    from geometry import make_processor

    from sbr.model.load import load_model

    def made(config: Any, device: torch.device) -> Any:
        model: Any = load_model(config, torch.device("meta"))
        if device.type == "meta":
            return model
        model._apply(lambda part: torch.empty_like(part, device=device) if part.is_meta else part.to(device))
        model.tie_weights()
        torch.manual_seed(0)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.02)
                else:
                    weight.fill_(float(name.endswith("weight")))
        return model

    with patch("sbr.train.setup.load_model", made), patch("sbr.train.setup.load_processor", lambda _: make_processor()):
        yield


def stopwatch(device: torch.device) -> Any:
    """A `Stopwatch` that also notes the most memory of every stage."""
    from sbr.train.stopwatch import Stopwatch

    class Meter(Stopwatch):
        def __init__(self) -> None:
            super().__init__(device)
            self.peaks: dict[str, int] = {}

        @contextmanager
        def __call__(self, stage: str) -> Iterator[None]:
            inner = stage != "step" and device.type == "cuda"
            if inner:
                torch.cuda.reset_peak_memory_stats()
            with super().__call__(stage):
                yield
            if inner:
                self.peaks[stage] = max(self.peaks.get(stage, 0), torch.cuda.max_memory_allocated())

    return Meter()


def later_median(clocks: Sequence[Any]) -> dict[str, float]:
    """Seconds by stage without the first step, which warms up."""
    later = [clock.seconds for clock in clocks[1:]]
    return {stage: statistics.median(own[stage] for own in later) for stage in later[0]}


def memory(scale: Scale, recipe: Any, clocks: Sequence[Any], seconds: dict[str, float], length: int) -> dict[str, Any]:
    """Peaks by stage, those of `sbr plan`, and the share of the plan's operations in the time of an update."""
    from sbr.plan.plan import Rates, assumed_of, make_plan
    from sbr.plan.stand_in import Cluster

    size = torch.cuda.get_device_properties(0).total_memory if scale.device == "cuda" else 80 * GIB
    visual = (scale.frames // 2 + 1) * (scale.side // 28) ** 2
    taken = {stage: max(clock.peaks[stage] for clock in clocks[1:]) / GIB for stage in clocks[1].peaks}
    start = time.perf_counter()
    plan = make_plan(recipe, Cluster(1, 1, size), assumed_of(recipe, length - visual, scale.tokens), Rates(1e15, 1e12))
    update = plan.cost.phases["update"].operations * scale.prompts / seconds["update"]
    found = {
        "peak_gib": taken,
        "planned_gib": {name: phase.peak / GIB for name, phase in plan.cost.phases.items()},
        "planned_parts": {name: phase.parts for name, phase in plan.cost.phases.items()},
        "plan_seconds": time.perf_counter() - start,
        "update_tflops": update / 1e12,
    }
    return found | ({"taken_over_planned": max(taken.values()) / (plan.peak / GIB)} if taken else {})


def kernels(scale: Scale, work: Callable[[], Any]) -> list[str]:
    """Names of the attention kernels that `work` runs."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if scale.device == "cuda" else [])]
    with profile(activities=kinds) as found:
        work()
    names = {event.key for event in found.key_averages()}
    return sorted(name[:120] for name in names if any(word in name for word in ("attention", "fmha", "flash", "sdpa")))


def timed(scale: Scale, work: Callable[[], Any]) -> float:
    wait = torch.cuda.synchronize if scale.device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def largest(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left.double() - right.double()).abs().max())


def relative(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """The largest difference of any tensor over its norm."""
    pairs = zip(left, right, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs if float(b.norm()) > 0)


def tokens_of(groups: Sequence[Sequence[Any]]) -> list[list[int]]:
    return [list(completion.token_ids) for group in groups for completion in group]


def agreement(left: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> float:
    """Share of tokens before the first that differs."""
    shares = []
    for a, b in zip(left, right, strict=True):
        same = [x == y for x, y in zip(a, b, strict=True)]
        shares.append((same.index(False) if False in same else len(same)) / len(same))
    return statistics.fmean(shares)


# -- running ----------------------------------------------------------------------------------------------------------

LEAN = {"train__optimizer": "adamw_8bit", "train__weights": "bfloat16"}
LORA = {"lora__rank": 64, "lora__alpha": 128, "train__prompts_per_microbatch": 1}
CHECKS: dict[str, tuple[Callable[[Scale], dict[str, Any]], int]] = {
    "versions": (versions, 60),
    "rates": (rates, 60),
    "head": (head, 60),
    "parity": (parity, 180),
    "generation": (generation, 300),
    "attention": (attention, 120),
    "recorded_attention": (recorded_attention, 240),
    "adamw": (adamw, 60),
    "grpo_small": (grpo, 240),
    "grpo_small_no_twin": (partial(grpo, rollout__twin=False), 240),
    "grpo_small_compiled": (partial(grpo, rollout__compile=True), 400),
    "grpo_small_graphs": (partial(grpo, rollout__graphs=True), 240),
    "grpo_small_compiled_graphs": (partial(grpo, rollout__compile=True, rollout__graphs=True), 400),
    "grpo_small_checkpointing": (partial(grpo, model__gradient_checkpointing=True), 240),
    "grpo_small_8bit": (partial(grpo, **LEAN), 300),
    "sft_small": (partial(sft, train__learning_rate=1e-4, train__warmup_ratio=0.0), 180),
    "miniature": (miniature, 240),
    "one_process_sharded": (one_process_sharded, 120),
    "grpo_large_lora": (partial(grpo, size="large", **LORA), 400),
    "grpo_large_8bit": (partial(grpo, size="large", **LEAN), 500),
    "grpo_large_8bit_compiled": (partial(grpo, size="large", rollout__compile=True, **LEAN), 550),
    "grpo_large_8bit_graphs": (partial(grpo, size="large", rollout__graphs=True, **LEAN), 500),
    "two_processes": (two_processes, 60),
    "vllm": (vllm, 600),
}
"""Name -> check, seconds it may take.  What is quick and says most stands first."""


def run_one(name: str, scale: Scale, result: Path) -> None:
    """A check in this process; what it found goes into `result`."""
    try:
        found: dict[str, Any] = {"status": "ok", "figures": CHECKS[name][0](scale)}
        if found["figures"].get("passed") is False:
            found["status"] = "off"
    except SkippedError as reason:
        found = {"status": "skipped", "reason": str(reason)}
    except BaseException:
        found = {"status": "failed", "error": traceback.format_exc()[-6000:]}
    write(result, found)


def run_apart(name: str, device: str, limit: float) -> dict[str, Any]:
    """The same in a process of its own, which is ended after `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        words = [sys.executable, __file__, "--out", str(result), "--device", device, "--in-this-process", name]
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
        start = time.perf_counter()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                words, stdout=stream, stderr=stream, start_new_session=True, env={**os.environ, **hidden}
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # also what it has started
                    process.wait()
        seconds = time.perf_counter() - start
        if result.exists():
            return json.loads(result.read_text()) | {"seconds": seconds}
        how = f"longer than {limit:.0f} s" if status is None else f"ended with status {status}"
        tail = log.read_text(errors="replace")[-3000:]
        return {"status": "failed" if status is not None else "timeout", "error": f"{how}\n{tail}", "seconds": seconds}


def write(file: Path, found: dict[str, Any]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draft.replace(file)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file; one that is there is gone on with")
    parser.add_argument("--device", choices=SCALES, default="cuda", help="cpu: the same at a tiny size")
    parser.add_argument("--only", choices=CHECKS, nargs="+", default=list(CHECKS), metavar="NAME")
    parser.add_argument("--again", action="store_true", help="run also what the file has")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of all checks; what is left stays undone")
    parser.add_argument("--in-this-process", choices=CHECKS, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    scale = SCALES[args.device]
    if args.in_this_process:
        run_one(args.in_this_process, scale, args.out)
        return 0
    found = json.loads(args.out.read_text()) if args.out.exists() else {"scale": asdict(scale), "checks": {}}
    if found["scale"] != asdict(scale):
        raise SystemExit(f"{args.out} holds checks of another scale; give another --out")
    end = time.monotonic() + 60 * args.minutes
    for name in args.only:
        if name in found["checks"] and not args.again:
            continue
        limit, left = CHECKS[name][1], end - time.monotonic()
        if left <= 0:
            print("no time left", file=sys.stderr)
            break
        checked = run_apart(name, args.device, min(limit, left))
        if checked["status"] == "timeout" and left < limit:
            break  # it was not its own time that ran out
        found["checks"][name] = checked
        write(args.out, found)
        print(f"{name}: {checked['status']}, {checked['seconds']:.0f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
