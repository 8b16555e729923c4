"""The measurements of grpo_step.py; each returns what stands under its name in the JSON, raw times included."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import report
import torch
from bench import Bench
from geometry import SIZES, make_image_prompt
from memory import Pass, measured
from rates import FlopCount, gemm_rate
from schedules import SCHEDULES, answer_official, answer_ours, reference_pass, training_pass
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::_linear"),
    "attention": ("scaled_dot_product",),
}
"""Operators by parts of their names."""

LARGEST_DIFFERENCE = 1e-4
"""Of a log-probability or (relative) the gradient between ours and a baseline; the run stops above it."""


def check(bench: Bench) -> dict[str, Any]:
    """The three schedules compute the same log-probabilities and gradients; what each training pass costs."""
    args, prompt = bench.args, bench.prompt()
    completions_GL = _completions(args.group_size, args.tokens[0])
    found: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}
    flops: dict[str, int] = {}
    for name, learner in bench.learners(args.sizes[0]).items():
        reference_GL = reference_pass(learner, prompt, completions_GL)
        with FlopCount() as count:
            found[name] = training_pass(learner, prompt, completions_GL, reference_GL)
        flops[name] = count.total
        trained = [parameter.grad for parameter in learner.policy.parameters() if parameter.grad is not None]
        gradients[name] = torch.cat([gradient.flatten() for gradient in trained])
        learner.optimizer.zero_grad(set_to_none=True)
    others = ("repeated", "official")
    norm = gradients["ours"].norm()
    differences: dict[str, dict[str, float]] = {
        "largest_logprob_difference": {name: float((found["ours"] - found[name]).abs().max()) for name in others},
        "relative_gradient_difference": {
            name: float((gradients["ours"] - gradients[name]).norm() / norm) for name in others
        },
    }
    for kind, by_name in differences.items():
        for name, difference in by_name.items():
            if not difference < LARGEST_DIFFERENCE:
                raise AssertionError(f"{kind} between ours and {name} is {difference}: not the same work")
    bench.log(f"largest differences: {differences}")
    return differences | {"training_pass_flops": flops}


def steps(bench: Bench) -> list[dict[str, Any]]:
    args, prompt = bench.args, bench.prompt()
    asked = {(size, tokens) for size in args.sizes for tokens in args.tokens}
    found = [entry for entry in bench.result.get("steps", ()) if (entry["size"], entry["tokens"]) not in asked]
    for size in args.sizes:
        runs = args.runs if size == args.sizes[0] else args.large_runs
        for tokens in args.tokens:
            seconds = bench.steps(SCHEDULES, size, prompt, args.group_size, tokens, runs)
            found.append(
                bench.about(size, prompt, tokens) | {"seconds": seconds, "ratios": report.step_ratios(seconds)}
            )
            found.sort(key=lambda entry: (entry["parameters"], entry["tokens"]))
            bench.result["steps"] = found
            bench.save()
    return found


def trl(bench: Bench) -> list[dict[str, Any]]:
    from trl_step import trl_steps

    args, found = bench.args, []
    prompt, images = make_image_prompt(bench.processor, args.frames, args.side)
    for size in args.trl_sizes:
        for tokens in args.tokens:
            ours: dict[str, list[float]] = {}

            def between(size: str = size, tokens: int = tokens, ours: dict[str, list[float]] = ours) -> None:
                once = bench.steps(("ours",), size, prompt, args.group_size, tokens, 1)["ours"]
                for stage, values in once.items():
                    ours.setdefault(stage, []).extend(values)

            shape = (len(prompt), args.group_size, tokens, args.runs)
            theirs = trl_steps(SIZES[size], bench.processor, images, *shape, between)
            bench.log(f"{size}, {tokens} tokens, TRL: {' '.join(f'{value:.2f}' for value in theirs)} s")
            ratio = report.median(theirs) / report.median(ours["step"])
            seconds = {"trl": theirs, "ours": ours}
            found.append(bench.about(size, prompt, tokens) | {"seconds": seconds, "ratio": ratio})
    return found


def evaluation(bench: Bench) -> list[dict[str, Any]]:
    """Questions of one sampled answer each: ours in one batch, the official loop one by one."""
    args, learners, found = bench.args, bench.learners(bench.args.sizes[0]), []
    prompts = [bench.prompt(seed=seed) for seed in range(args.questions)]
    for tokens in args.eval_tokens:
        seconds: dict[str, list[float]] = {"ours": [], "official": []}
        for _ in range(args.runs):
            seconds["ours"].append(_seconds(partial(answer_ours, learners["ours"], prompts, tokens, args.questions)))
            seconds["official"].append(_seconds(partial(answer_official, learners["official"], prompts, tokens)))
            last = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
            bench.log(f"{args.questions} questions, {tokens} tokens each: {last}")
        found.append({"questions": args.questions, "tokens": tokens, "seconds": seconds})
    return found


def growth(bench: Bench) -> dict[str, Any]:
    """Our step at the group size and at twice the group size."""
    args, prompt = bench.args, bench.prompt()
    seconds: dict[str, list[float]] = {"single": [], "double": []}
    for _ in range(args.runs):
        for times, values in zip((1, 2), seconds.values(), strict=True):
            shape = (args.sizes[0], prompt, times * args.group_size, args.tokens[0], 1)
            values += bench.steps(("ours",), *shape)["ours"]["step"]
    return {"group_sizes": [args.group_size, 2 * args.group_size], "seconds": seconds}


def gemm(bench: Bench) -> dict[str, Any]:
    """Our training pass against the rate of the model's own matrix products, measured between the passes."""
    args, prompt, size = bench.args, bench.prompt(), SIZES[bench.args.gemm_size]
    learner = bench.learners(args.gemm_size)["ours"]
    completions_GL = _completions(args.group_size, args.tokens[0])
    reference_GL = reference_pass(learner, prompt, completions_GL)

    def work() -> None:
        training_pass(learner, prompt, completions_GL, reference_GL)
        learner.optimizer.zero_grad(set_to_none=True)

    rows = len(prompt) + completions_GL.numel()
    media = (prompt.pixel_values, prompt.pixel_values_videos)
    patches = sum(len(pixels) for pixels in media if pixels is not None)
    with FlopCount() as count:
        work()
    flops = count.total
    rates, seconds = [], []
    for _ in range(args.runs):
        rates.append(gemm_rate(size, rows, patches))
        seconds.append(_seconds(work))
        share = flops / (seconds[-1] * rates[-1])
        bench.log(f"{args.gemm_size} training pass {seconds[-1]:.2f} s at {rates[-1] / 1e9:.0f} GFLOP/s: {share:.0%}")
    about = bench.about(args.gemm_size, prompt, args.tokens[0])
    return about | {"flops": flops, "seconds": seconds, "flops_per_second": rates}


def profile(bench: Bench) -> dict[str, Any]:
    """Where the time of our training pass goes: seconds by kind of operator, as torch's profiler counts them."""
    args, prompt = bench.args, bench.prompt()
    learner = bench.learners(args.sizes[0])["ours"]
    completions_GL = _completions(args.group_size, args.tokens[0])
    reference_GL = reference_pass(learner, prompt, completions_GL)
    training_pass(learner, prompt, completions_GL, reference_GL)  # warm
    learner.optimizer.zero_grad(set_to_none=True)
    with torch_profile(activities=[ProfilerActivity.CPU]) as found:
        training_pass(learner, prompt, completions_GL, reference_GL)
    learner.optimizer.zero_grad(set_to_none=True)
    seconds = dict.fromkeys((*KINDS, "everything else"), 0.0)
    for event in found.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), None)
        seconds[kind or "everything else"] += event.self_cpu_time_total / 1e6
    return bench.about(args.sizes[0], prompt, args.tokens[0]) | {"seconds": seconds}


def memory(bench: Bench) -> dict[str, Any]:
    """Bytes of a training pass, each schedule in its own process."""
    args, found = bench.args, {}
    for name in SCHEDULES:
        work = Pass(name, args.sizes[0], args.group_size, args.tokens[0], args.frames, args.side)  # type: ignore[arg-type]
        found[name] = measured(work)
        bench.log(f"training pass, {name}: {found[name]['pass'] / 1e9:.2f} GB above the loaded model")
    return found


def curves(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    """Seconds of a step over group size, frames and length, the others as in the first setting."""
    args = bench.args
    base = {"group_size": args.group_size, "frames": args.frames, "tokens": args.tokens[0]}
    axes = {"group_size": args.curve_groups, "frames": args.curve_frames, "tokens": args.curve_tokens}
    found: dict[str, list[dict[str, Any]]] = {}
    for axis, values in axes.items():
        found[axis] = []
        for value in values:
            at = base | {axis: value}
            affordable = max(at["group_size"] * at["frames"], at["tokens"]) <= args.curve_limit
            names = ("ours", "official") if affordable else ("ours",)
            shape = (bench.prompt(at["frames"]), at["group_size"], at["tokens"], args.curve_runs)
            found[axis].append({"value": value, "seconds": bench.steps(names, args.sizes[0], *shape)})
            bench.result["curves"] = found
            bench.save()
    return found


def _completions(group_size: int, tokens: int) -> torch.Tensor:
    """Ordinary words, the same at every call."""
    return torch.randint(20, 600, (group_size, tokens), generator=torch.Generator().manual_seed(1))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


SECTIONS: dict[str, Callable[[Bench], Any]] = {
    section.__name__: section for section in (check, steps, trl, evaluation, growth, gemm, profile, memory, curves)
}
