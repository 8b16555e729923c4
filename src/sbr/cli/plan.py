"""`sbr plan RECIPE`: what a training run takes on each GPU, before there is one."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sbr.config.explain import verb
from sbr.config.load import load_recipe, override, read_resolved
from sbr.config.recipes import GrpoRecipe, SftRecipe, TrainRecipe
from sbr.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from sbr.plan.plan import Plan

GIB = 1 << 30
LARGEST = {"gpus": 4096, "nodes": 4096, "memory": 10_000, "text_tokens": 100_000, "response_tokens": 2**17}
WORDS = {
    "weights": "of what is trained; with LoRA the frozen ones too",
    "gradients": "and those of the layer at hand",
    "optimizer": "both moments of AdamW",
    "reference": "the frozen copy of the KL term",
    "average": "the slow average of the policy",
    "buckets": "of data parallelism, for gradients on their way",
    "gathered": "weights and gradients of the layers at hand, whole",
    "twin": "the copy that is asked in rollouts, mostly in 16 bits",
    "rounded": "16-bit copies of weights that autocast makes",
    "activations": "and everything else that a pass makes",
    "caches": "keys and values of decoding",
    "sampler": "what vLLM may take while it draws (rollout.vllm.gpu_memory)",
    "logits": "and what the loss makes of them",
}


@dataclass(frozen=True)
class Args:
    """Say what a training run takes on each GPU, whether it fits, and what to change if not.  Needs no GPU and no
    weights: config.json of the model is enough.  One step is run on tensors without content.

    Exit status 0: it fits; 1: it does not; 2: bad input.

    Examples:
      sbr plan recipes/qwen2vl_7b/grpo.toml --gpus 8 --memory 40
      sbr plan recipes/qwen2vl_7b/grpo_lora.toml --memory 24 --json plan.json
      sbr plan recipes/qwen2vl_7b/sft.toml --gpus 16 --nodes 2 --train.sharding hybrid      any key of the recipe

    What is assumed: every prompt has frames.max_frames frames and one image, and every completion is as long as it may
    be.  What is not counted: CUDA itself, NCCL, holes between tensors (for these a tenth of the memory is left free),
    CUDA graphs of rollout.graphs, [cold_start], a sampler of your own.
    """

    recipe: tyro.conf.Positional[Path]
    """The TOML file of `sbr grpo` or `sbr sft`, or recipe.json of a run."""
    gpus: int = 1
    """Processes, one a GPU."""
    nodes: int = 1
    """Machines that these are on, equally many on each."""
    memory: float = 80.0
    """Of a GPU, in GiB."""
    text_tokens: int = 164
    """Of a prompt, beside those of its pictures."""
    response_tokens: int | None = None
    """Of every completion (default: rollout.max_new_tokens), or of the response that SFT learns (default:
    validation.max_new_tokens)."""
    tflops: float = 400.0
    """What a GPU reaches in matrix products of 16 bits, 10^12 operations a second; for the time only."""
    bandwidth: float = 3000.0
    """What it reads of its memory in decoding, 10^9 bytes a second; for the time only."""
    json: Path | None = None
    """Write the figures into this file too."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr plan`, plan, and print the table."""
    found = tyro.cli(Args, args=arguments, prog="sbr plan", description=inspect.getdoc(Args), return_unknown_args=True)
    args, words = found
    _check(args)
    recipe = _load(args.recipe, words)

    from sbr.model.paths import resolve_model_path

    resolve_model_path(recipe.model.path)  # before torch is imported

    from sbr.cli.console import Terminal, quiet_transformers
    from sbr.files import replace_output
    from sbr.plan.advice import advise
    from sbr.plan.plan import Rates, assumed_of, make_plan
    from sbr.plan.stand_in import Cluster

    quiet_transformers()
    console = Terminal()
    cluster = Cluster(args.gpus, args.nodes, int(args.memory * GIB))
    rates = Rates(args.tflops * 1e12, args.bandwidth * 1e9)
    plan = make_plan(recipe, cluster, assumed_of(recipe, args.text_tokens, args.response_tokens), rates)
    console.print(_heading(args, recipe, plan), soft_wrap=True)
    console.print(_table(plan))
    console.print(_closing(plan, args), soft_wrap=True)
    advice = None if plan.fits else advise(recipe, plan, rates)
    if not plan.fits:
        console.print(_advice(args, advice), soft_wrap=True)
    if args.json is not None:
        figures = plan.as_json() | {"change": None if advice is None else list(advice.changes)}
        replace_output(args.json, (json.dumps(figures, indent=1) + "\n").encode(), b'{\n "fits"')
        console.print(f"figures: {args.json}", soft_wrap=True)
    if not plan.fits:
        raise SystemExit(1)


def _check(args: Args) -> None:
    for name, most in LARGEST.items():
        value = getattr(args, name)
        if value is not None and not 0 < value <= most:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}, expected more than 0 and at most {most:,}")
    for name in ("tflops", "bandwidth"):
        if not 0 < getattr(args, name) <= 1e9:
            raise ConfigError(f"--{name} is {getattr(args, name)}, expected more than 0 and at most 1e9")
    if args.gpus % args.nodes:
        raise ConfigError(f"--gpus is {args.gpus}, which {args.nodes} nodes cannot share evenly")


def _load(file: Path, words: list[str]) -> TrainRecipe:
    """As the verb reads it that the recipe is for: GRPO, or SFT where it says something that only SFT has.

    Raises ConfigError, that of GRPO for what is neither.
    """
    read = read_resolved if file.suffix == ".json" else load_recipe
    try:
        recipe: TrainRecipe = read(GrpoRecipe, file)
    except ConfigError as error:
        try:
            recipe = read(SftRecipe, file)
        except ConfigError:
            raise error from None
    return override(recipe, words, f"{verb(type(recipe))} {file}") if words else recipe


def _heading(args: Args, recipe: TrainRecipe, plan: Plan) -> str:
    cost, assumed = plan.cost, plan.assumed
    what = "GRPO" if isinstance(recipe, GrpoRecipe) else "SFT"
    share = "all weights" if cost.trained == cost.weights else f"{cost.trained / 1e6:,.0f} million of them trained"
    return (
        f"{what} of {recipe.model.path} ({cost.weights / 1e9:.2f} billion weights, {share}) on {args.gpus} x "
        f"{args.memory:g} GiB, sharding {cost.mode}; {cost.prompt_tokens} prompt tokens, {assumed.responses} x "
        f"{assumed.response_tokens} to learn"
    )


def _table(plan: Plan) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title="GiB on each GPU, when the phase takes most", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("part")
    phases = plan.cost.phases
    for name in phases:
        table.add_column(name, justify="right")
    table.add_column("what it is")
    for part, words in WORDS.items():
        if any(part in phase.parts for phase in phases.values()):
            table.add_row(part, *(_gib(phase.parts.get(part, 0)) for phase in phases.values()), words)
    table.add_section()
    table.add_row("together", *(_gib(phase.peak) for phase in phases.values()), "")
    table.add_row("operations", *(f"{phase.operations / 1e12:.1f}" for phase in phases.values()), "10^12, a prompt")
    table.add_row("time", *(f"{seconds:.2f}" for seconds in plan.seconds.values()), "seconds a prompt, at least")
    return table


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size else "-"


def _closing(plan: Plan, args: Args) -> str:
    name, phase = plan.largest
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    return (
        f"{verdict}: {phase.peak / GIB:.1f} GiB in {name}, and of {args.memory:g} GiB {plan.usable / GIB:.1f} may be "
        f"taken.  Time at {args.tflops:g} x 10^12 operations and {args.bandwidth:g} x 10^9 bytes a second."
    )


def _advice(args: Args, advice: Plan | None) -> str:
    if advice is None:
        return "No change that was tried fits; use a smaller model, smaller frames, or GPUs with more memory."
    words = " ".join(advice.changes)
    return f"What fits: {words} ({advice.peak / GIB:.1f} GiB); sbr plan {args.recipe} {words} shows it."
