"""What a step of GRPO costs on many nodes, computed: bytes exchanged, waiting, host memory, frames, checkpoints.

    python benchmarks/cluster.py recipes/qwen2vl_7b/grpo.toml --gpus 1000 --nodes 125 --train.prompts_per_step 1000

Prints the tables of docs/scale.md as markdown.  Nothing is measured: sizes and operations come from `sbr plan`, rates
and the distribution of lengths are assumptions, given as options.  Exchanges are counted as if none were hidden behind
computing; a ring moves (n - 1) / n of what is gathered or scattered through each of its n members.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import tyro

GIGA = 1e9
Mode = Literal["none", "full", "hybrid"]


@dataclass(frozen=True)
class Nodes:
    """How processes lie on machines."""

    count: int
    local: int
    """Processes of each, one a GPU."""

    @property
    def processes(self) -> int:
        return self.count * self.local


@dataclass(frozen=True)
class Model:
    """Bytes of one training state, whole."""

    weights: int
    trained: int
    """Of these, what has a gradient; gradients have the weights' precision."""
    reference: int
    """Of the frozen copy; 0 without one."""
    twin: int
    """Of the copy that rollouts ask; 0 without one."""


@dataclass(frozen=True)
class Exchange:
    """What one GPU sends (and receives) in a step."""

    name: str
    inside: float
    """Bytes over the links inside its node."""
    between: float
    """Bytes over its port to other nodes."""

    def seconds(self, link: float, network: float) -> float:
        """Both are used at the same time where one collective call uses both.

        >>> Exchange("", 600e9, 10e9).seconds(300e9, 40e9)
        2.0
        """
        return max(self.inside / link, self.between / network)


def gather(name: str, size: float, mode: Mode, nodes: Nodes, times: int = 1) -> Exchange:
    """`size` bytes that lie in parts on some processes, put together on each of them; or the sum, cut into parts.

    Over all nodes every ring enters and leaves a node once, and there is one ring a port.

    >>> gather("", 8e9, "hybrid", Nodes(2, 8))
    Exchange(name='', inside=7000000000.0, between=0.0)
    >>> gather("", 16e9, "full", Nodes(2, 8))
    Exchange(name='', inside=15000000000.0, between=1875000000.0)
    """
    if mode == "none":
        return Exchange(name, 0.0, 0.0)
    parts = nodes.processes if mode == "full" else nodes.local
    moved = times * size * (parts - 1) / parts
    return Exchange(name, moved, moved / nodes.local if mode == "full" and nodes.count > 1 else 0.0)


def add_up(name: str, size: float, mode: Mode, nodes: Nodes, times: int = 1) -> Exchange:
    """Gradients of copies: those of a part between nodes (hybrid), or of all weights between all processes (none).

    >>> add_up("", 8e9, "hybrid", Nodes(2, 8))
    Exchange(name='', inside=0.0, between=1000000000.0)
    >>> add_up("", 8e9, "full", Nodes(2, 8)).between
    0.0
    """
    if mode == "full":
        return Exchange(name, 0.0, 0.0)
    if mode == "hybrid":
        return Exchange(name, 0.0, times * 2 * size / nodes.local * (nodes.count - 1) / nodes.count)
    moved = times * 2 * size * (nodes.processes - 1) / nodes.processes
    return Exchange(name, moved, moved / nodes.local if nodes.count > 1 else 0.0)


def exchanges(model: Model, mode: Mode, nodes: Nodes, passes: int, updates: int = 1) -> list[Exchange]:
    """Of a step of GRPO: `passes` microbatches on each process, `updates` of the weights.

    Gradients of parts are added up after every microbatch, those of whole copies once.
    """
    often = passes * updates
    found = [
        gather("twin, all-gather", model.twin, mode, nodes),
        gather("reference, all-gather", model.reference, mode, nodes, passes),
        gather("old policy, all-gather", model.weights if updates > 1 else 0, mode, nodes, passes),
        gather("forward, all-gather", model.weights, mode, nodes, often),
        gather("backward, all-gather", model.weights, mode, nodes, often),
        gather("gradients, reduce-scatter", model.trained, mode, nodes, often),
        add_up("gradients, all-reduce", model.trained, mode, nodes, updates if mode == "none" else often),
    ]
    return [exchange for exchange in found if exchange.inside or exchange.between]


def lognormal(median: float, sigma: float, most: int) -> np.ndarray:
    """Probabilities of lengths 0 to `most`; what would be longer is cut there.

    >>> found = lognormal(100, 0.5, 256)
    >>> float(found.sum()), round(float(found @ np.arange(257)))
    (1.0, 112)
    """
    normal = NormalDist(math.log(median), sigma)
    below = np.array([0.0] + [normal.cdf(math.log(length + 0.5)) for length in range(1, most)] + [1.0])
    return np.diff(below, prepend=0.0)


def seen(lengths: list[int], most: int) -> np.ndarray:
    """Probabilities of lengths 0 to `most` as counted.

    >>> seen([1, 2, 2, 9], 3).tolist()
    [0.0, 0.25, 0.5, 0.25]
    """
    return np.bincount(np.minimum(lengths, most), minlength=most + 1) / len(lengths)


def sum_of(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Probabilities of the sum of `count` independent numbers.

    >>> sum_of(np.array([0.5, 0.5]), 2).tolist()
    [0.25, 0.5, 0.25]
    """
    found = np.ones(1)
    for _ in range(count):
        found = np.convolve(found, probabilities)
    return found


def mean_largest(probabilities: np.ndarray, count: int) -> float:
    """Mean of the largest of `count` independent numbers.

    >>> mean_largest(np.array([0.5, 0.5]), 2)
    0.75
    """
    below = np.minimum(np.cumsum(probabilities), 1.0)
    return float((1 - below[:-1] ** count).sum())


@dataclass(frozen=True)
class Pace:
    """Seconds of one process, as a line: `fixed` of its prompts, and more for each token."""

    rollout_fixed: float
    rollout_token: float
    """For each step of decoding."""
    training_fixed: float
    training_token: float
    """For each token of a completion, reference and update together."""


@dataclass(frozen=True)
class Waiting:
    """Means over steps, seconds."""

    rollout: float
    """Of a process."""
    rollout_slowest: float
    training: float
    training_slowest: float

    @property
    def step(self) -> float:
        return self.rollout_slowest + self.training_slowest

    @property
    def idle(self) -> float:
        """Share of the step."""
        return 1 - (self.rollout + self.training) / self.step


def waiting(pace: Pace, lengths: np.ndarray, completions: int, processes: int) -> Waiting:
    """All processes meet after the rollout and after the update.  A rollout lasts until the longest of the
    `completions` of its process has ended; a training pass takes them all, without padding.

    >>> even = waiting(Pace(1, 0.01, 2, 0.001), seen([100], 256), 8, 1000)
    >>> round(even.step, 3), round(even.idle, 3)
    (4.8, 0.0)
    """
    sums = sum_of(lengths, completions)
    return Waiting(
        pace.rollout_fixed + pace.rollout_token * mean_largest(lengths, completions),
        pace.rollout_fixed + pace.rollout_token * mean_largest(lengths, completions * processes),
        pace.training_fixed + pace.training_token * float(sums @ np.arange(len(sums))),
        pace.training_fixed + pace.training_token * mean_largest(sums, processes),
    )


@dataclass(frozen=True)
class Args:
    """Compute what a step of a GRPO recipe costs on many nodes.  Any key of the recipe can be set."""

    recipe: tyro.conf.Positional[Path]
    gpus: int = 1000
    nodes: int = 125
    memory: float = 80.0
    """Of a GPU, in GiB."""
    tflops: float = 400.0
    """Of a GPU, reached in matrix products of 16 bits."""
    bandwidth: float = 3000.0
    """Of a GPU's memory, reached in decoding, 10^9 bytes a second."""
    link: float = 300.0
    """Between the GPUs of a node, of each, one direction, 10^9 bytes a second."""
    networks: tuple[float, ...] = (40.0, 5.0)
    """Between nodes, of each GPU, one direction: one port of 400 Gbit/s a GPU, or a node, at 80 %."""
    text_tokens: int = 164
    median: float = 120.0
    """Tokens of a completion, lognormal, cut at rollout.max_new_tokens."""
    sigma: float = 0.4
    """Of the logarithm of the length."""
    completions: Path | None = None
    """completions.jsonl of a run, whose lengths are taken instead."""
    questions: int = 6000
    """Of the training file."""
    decode: float = 2.1
    """Seconds of CPU to decode one clip (docs/performance.md, "The frame cache": 30 s at 1280 x 720)."""
    writer: float = 2.0
    """What one process writes to or reads from the shared file system, 10^9 bytes a second."""
    disks: float = 100.0
    """What all together write, 10^9 bytes a second."""


def main(arguments: list[str]) -> None:
    args, words = tyro.cli(Args, args=arguments, description=inspect.getdoc(Args), return_unknown_args=True)
    from sbr.config.load import load_recipe
    from sbr.config.recipes import GrpoRecipe
    from sbr.plan.plan import Rates, assumed_of, make_plan
    from sbr.plan.stand_in import Cluster, algorithm_of, copies_of_weights, trained_model

    recipe: Any = load_recipe(GrpoRecipe, args.recipe, words)
    cluster = Cluster(args.gpus, args.nodes, int(args.memory * 2**30))
    rates = Rates(args.tflops * 1e12, args.bandwidth * 1e9)
    most = assumed_of(recipe, args.text_tokens, None)
    plan = make_plan(recipe, cluster, most, rates)
    half = make_plan(recipe, cluster, replace(most, response_tokens=most.response_tokens // 2), rates)
    weights = list(trained_model(recipe).parameters())
    whole = sum(weight.numel() * weight.itemsize for weight in weights)
    model = Model(
        weights=whole,
        trained=sum(weight.numel() * weight.itemsize for weight in weights if weight.requires_grad),
        reference=whole * copies_of_weights(recipe, algorithm_of(recipe)),
        twin=plan.cost.phases["prefill"].parts.get("twin", 0),
    )
    nodes = Nodes(args.nodes, args.gpus // args.nodes)
    prompts = recipe.train.prompts_per_step // args.gpus
    print(_plan_table(plan))
    print(_exchange_table(args, model, plan.cost.mode, nodes, recipe, prompts))
    print(_waiting_table(args, plan, half, prompts))
    print(_host_table(args, recipe, model, nodes, prompts))


def pace_of(plan: Any, half: Any, prompts: int) -> Pace:
    """From the plans of a prompt with completions of full and of half length."""
    tokens, fewer = plan.assumed.response_tokens, half.assumed.response_tokens
    training = [sum(found.seconds.get(name, 0.0) for name in ("reference", "update")) for found in (plan, half)]
    token = (training[0] - training[1]) / (plan.assumed.responses * (tokens - fewer))
    return Pace(
        rollout_fixed=prompts * plan.seconds["prefill"],
        rollout_token=prompts * plan.seconds["decoding"] / (tokens - 1),
        training_fixed=prompts * (training[0] - token * plan.assumed.responses * tokens),
        training_token=token,
    )


def table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """As markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return f"{title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _plan_table(plan: Any) -> str:
    rows = [
        (name, f"{phase.peak / 2**30:.1f}", f"{phase.operations / 1e12:.1f}", f"{plan.seconds[name]:.2f}")
        for name, phase in plan.cost.phases.items()
    ]
    where = f"{plan.cluster.gpus} GPUs on {plan.cluster.nodes} nodes, sharding {plan.cost.mode}"
    return table(
        f"Plan: {where}; {'fits' if plan.fits else 'does not fit'}.",
        ("phase", "GiB a GPU", "10^12 operations a prompt", "seconds a prompt, at least"),
        rows,
    )


def _exchange_table(args: Args, model: Model, mode: Mode, nodes: Nodes, recipe: Any, prompts: int) -> str:
    size = min(recipe.train.prompts_per_microbatch, prompts)
    rows_of_group = recipe.rollout.group_size
    parts = math.ceil(rows_of_group / (recipe.train.completions_per_microbatch or rows_of_group))
    passes, updates = math.ceil(prompts / size) * parts, recipe.algo.updates_per_rollout
    head = ("in a step, of each GPU", "GB in the node", "GB between nodes")
    head += tuple(f"s at {args.link:g} and {network:g} GB/s" for network in args.networks)
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys((mode, "hybrid", "full")):
        found = exchanges(model, kind, nodes, passes, updates)
        for exchange in found if kind == mode else ():
            seconds = (f"{exchange.seconds(args.link * GIGA, net * GIGA):.2f}" for net in args.networks)
            rows.append((exchange.name, f"{exchange.inside / GIGA:.1f}", f"{exchange.between / GIGA:.1f}", *seconds))
        totals = (
            f"{sum(exchange.seconds(args.link * GIGA, net * GIGA) for exchange in found):.2f}" for net in args.networks
        )
        inside, between = sum(exchange.inside for exchange in found), sum(exchange.between for exchange in found)
        rows.append((f"together, {kind}", f"{inside / GIGA:.1f}", f"{between / GIGA:.1f}", *totals))
    return table(f"Communication; passes of each process per step: {passes}", head, rows)


def _waiting_table(args: Args, plan: Any, half: Any, prompts: int) -> str:
    most = plan.assumed.response_tokens
    if args.completions is None:
        lengths, source = lognormal(args.median, args.sigma, most), f"median {args.median:g}, sigma {args.sigma:g}"
    else:
        lines = args.completions.read_text(encoding="utf-8").splitlines()
        lengths = seen([json.loads(line)["tokens"] for line in lines], most)
        source = f"{len(lines)} completions"
    pace = pace_of(plan, half, prompts)
    rows: list[tuple[str, ...]] = []
    local = plan.cluster.gpus // plan.cluster.nodes
    for processes in sorted({1, local, plan.cluster.gpus}):
        found = waiting(pace, lengths, prompts * plan.assumed.responses, processes)
        rows.append(
            (
                f"{processes:,}",
                f"{found.rollout:.2f} / {found.rollout_slowest:.2f}",
                f"{found.training:.2f} / {found.training_slowest:.2f}",
                f"{found.step:.2f}",
                f"{found.idle:.0%}",
            )
        )
    mean = float(lengths @ np.arange(most + 1))
    title = f"Waiting, without communication; lengths: {source}, mean {mean:.0f}, {lengths[-1]:.1%} cut at {most}"
    head = ("processes", "rollout, mean / slowest, s", "training, mean / slowest, s", "step, s", "idle")
    return table(title, head, rows)


def _host_table(args: Args, recipe: Any, model: Model, nodes: Nodes, prompts: int) -> str:
    from sbr.frames.sampling import resized_size

    height, width = resized_size(recipe.frames)
    sample = (recipe.frames.max_frames + 1) * height * width * 3
    moments = 2 * model.trained
    final = model.weights // 2 if recipe.lora is None and recipe.model.dtype == "bfloat16" else model.trained
    written = (model.weights if recipe.lora is None else model.trained) + moments
    alone = written - moments
    kept = recipe.train.keep_checkpoints
    steps = recipe.train.epochs * args.questions // recipe.train.prompts_per_step
    rows = [
        ("steps of the run", f"{steps:,}", f"{args.questions:,} questions, {recipe.train.prompts_per_step:,} a step"),
        ("host memory of process 0, loading", _gb(model.weights), "one model after the other, whole"),
        ("host memory of process 0, saving", _gb(alone), "weights whole"),
        ("sent to each GPU at the start", _gb(model.weights + model.reference), "weights and reference, whole"),
        ("decoded frames of a process", _gb(2 * prompts * sample), "two steps"),
        (
            "decoded frames of a step",
            _gb(recipe.train.prompts_per_step * sample),
            "all processes; from a cache or decoded",
        ),
        (
            "decoding, CPU seconds a node and step",
            f"{nodes.local * prompts * args.decode:.0f}",
            f"{args.decode:g} s a clip",
        ),
        ("frame cache of the training file", _gb(args.questions * sample), "whole, shared or on each node"),
        ("checkpoint", _gb(written), f"{_gb(alone)} by process 0, {_gb(moments)} by all"),
        ("files of a checkpoint, about", f"{2 * nodes.processes:,}", "moments and random state of each process"),
        (
            "writing it",
            f"{alone / GIGA / args.writer + moments / GIGA / args.disks:.0f} s",
            f"{args.writer:g} GB/s of one process, {args.disks:g} of all",
        ),
        (
            "disk of the run, at most",
            _gb((kept + 1) * written + final),
            f"{kept} checkpoints, one being written, final",
        ),
    ]
    return table("Hosts and disks", ("what", "how much", "of what"), rows)


def _gb(size: float) -> str:
    return f"{size / GIGA:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    main(sys.argv[1:])
