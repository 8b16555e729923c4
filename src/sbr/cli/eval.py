"""sbr eval: ask a model every question of the benchmark and print the table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sbr.cli.early import refuse_early
from sbr.cli.progress import Bars, steps_progress
from sbr.config.load import load_recipe, read_resolved, validate
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.section import Source
from sbr.errors import ConfigError
from sbr.resume.folder import read_json

if TYPE_CHECKING:
    from sbr.report.tables import TextTable

TABLE = "table.md"


@dataclass(frozen=True)
class Args:
    """Evaluate a model on the levels of SEED-Bench-R1.  An interrupted run continues where it was: repeat the command.
    Under torchrun or accelerate launch the processes share the questions; a run may continue with another number.

    Examples:
      sbr eval recipes/mini/eval.toml --data.root runs/demo/data     the base model of the package, with its frames
      sbr eval --run runs/mini/grpo                     its final model, on its data, with its frames and prompt
      sbr eval --model runs/grpo/final --data runs/mini --out runs/eval_grpo --levels L3 --limit 100
      sbr eval --recipe recipes/mini/eval.toml --model runs/grpo/final --out runs/eval_grpo
      sbr eval --model Qwen/Qwen2-VL-7B-Instruct --data SEED-Bench-R1 --out runs/paper --protocol paper --samples 4
      sbr eval --model Qwen/Qwen2-VL-7B-Instruct --source longvideobench --data LongVideoBench --out runs/lvb
      sbr eval --engine endpoint --url http://localhost:8000/v1 --model Qwen/Qwen2-VL-7B-Instruct --data SEED-Bench-R1 \
               --out runs/served --concurrency 32       a server with an OpenAI-compatible API
      sbr eval --recipe served.toml --url http://node1:8000/v1 http://node2:8000/v1     several servers of one model
      sbr eval --run runs/mini/grpo --blind --out runs/mini/blind     the same questions without video and image
      sbr eval --run runs/mini/grpo --shuffle-options --out runs/mini/rotated     every rotation of the options
      torchrun --nproc_per_node 8 -m -- sbr eval --run runs/grpo     one process a GPU
      sbr eval recipes/mini/eval.toml --frames.max_frames 8     as `sbr grpo`: a recipe, and any of its keys
    """

    model: str | None = None
    """Checkpoint folder, hub name, or sbr:mini for the model of the package; with --engine endpoint the name of the
    model at the server."""
    data: Path | None = None
    """Folder of the data, laid out as its source asks for (docs/formats.md)."""
    source: Source | None = None
    """Whose files lie there: the SEED-Bench-R1 release (default), EgoPlan-Bench, EgoPlan-Bench2 or LongVideoBench."""
    out: Path | None = None
    """Folder for records.jsonl, summary.json, table.md and recipe.json."""
    run: Path | None = None
    """Folder of a finished training run: its final/ model, data root, frames, prompt and answer length become the
    defaults, and --out becomes RUN/eval."""
    recipe: Path | None = None
    """A recipe in TOML to start from; the other flags win over it."""
    levels: str | None = None
    """Comma-separated, out of L1,L2,L3 (egoplan: L1,L2; egoplan2: L3; longvideobench: val).  Default: all."""
    limit: int | None = None
    """At most so many questions a level."""
    protocol: Literal["greedy", "paper"] | None = None
    """greedy: one most likely answer. paper: sampled at temperature 1."""
    samples: int | None = None
    """Answers a question under the paper protocol."""
    rule: Literal["official", "care", "strict"] | None = None
    """How answers are read (sbr.reward.answer)."""
    batch_size: int | None = None
    """Questions answered at once."""
    seed: int | None = None
    """Seed of sampling."""
    blind: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show neither video nor image: what the model knows from the words alone."""
    no_video: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the current observation only."""
    shuffle_options: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Ask every question once for each rotation of its options (four times as many answers)."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Weights; without a recipe the default is bfloat16 on a GPU and float32 on a CPU."""
    max_new_tokens: int | None = None
    """Longest answer in tokens."""
    engine: str | None = None
    """Where answers come from: native, the model in this process (default), vllm, or endpoint, an OpenAI-compatible
    server."""
    url: tuple[str, ...] | None = None
    """Address of the server, or of several with the same model; the key, if they want one, is read from the
    environment variable OPENAI_API_KEY."""
    concurrency: int | None = None
    """Requests to each server at the same time."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr eval`, evaluate, and print the table."""
    recipe = parse(arguments)
    refuse_early(recipe)

    from sbr.card.card import holds_card
    from sbr.cli.console import Terminal, quiet_transformers
    from sbr.eval.records import RECORDS, SUMMARY
    from sbr.report.tables import rich_table

    quiet_transformers()
    console = Terminal()
    tables = evaluate_and_tabulate(recipe)
    for table in tables:
        console.print(rich_table(table))
    if tables:
        console.print(f"In {recipe.output_dir}: {RECORDS} (every answer), {SUMMARY}, {TABLE}, recipe.json")
        if recipe.engine.kind != "endpoint" and holds_card(Path(recipe.model.path)):
            console.print(f"Into its model card: sbr card {recipe.model.path} {recipe.output_dir}", soft_wrap=True)


def evaluate_and_tabulate(recipe: EvalRecipe, bars: Callable[[], Bars] = steps_progress) -> list[TextTable]:
    """Evaluate with a progress bar and write table.md; its tables, on rank 0 of several processes, else none."""
    from sbr.cli.asking import AskingBar, RightSoFar
    from sbr.eval.runner import evaluate
    from sbr.report.control_tables import letter_tables, rotation_tables
    from sbr.report.tables import run_tables, write_markdown
    from sbr.resume.processes import launched

    with launched() as processes, AskingBar(RightSoFar(), bars) as bar:
        summary = evaluate(recipe, bar, processes)
    if processes.rank > 0:
        return []
    levels = {recipe.model.path: summary.levels}
    tables = [*run_tables(recipe.model.path, summary), *rotation_tables(levels), *letter_tables(levels)]
    write_markdown(tables, recipe.output_dir / TABLE)
    return tables


def parse(arguments: list[str]) -> EvalRecipe:
    """Flags (`Args`), or a recipe followed by any of its keys.  Raises ConfigError."""
    if arguments and not arguments[0].startswith("-"):
        return load_recipe(EvalRecipe, Path(arguments[0]), arguments[1:])
    # Without `description` tyro drops the examples.
    return resolve_recipe(tyro.cli(Args, args=arguments, prog="sbr eval", description=inspect.getdoc(Args)))


def resolve_recipe(args: Args) -> EvalRecipe:
    """The recipe file, or the official defaults, with the flags laid over it.  Raises ConfigError."""
    if args.run is not None and args.recipe is not None:
        raise ConfigError("sbr eval takes --run or --recipe, not both")
    if args.run is not None:
        values = values_of_run(args.run)
    elif args.recipe is not None:
        values = load_recipe(EvalRecipe, args.recipe).model_dump(mode="json")
    else:
        needed = {"--model": args.model, "--data": args.data, "--out": args.out}
        if missing := [flag for flag, value in needed.items() if value is None]:
            raise ConfigError(
                f"sbr eval needs {', '.join(missing)} (or --run FOLDER, or --recipe FILE); see `sbr eval --help`"
            )
        values = {"model": {}, "data": {}, "eval": {}}
    for key, value in _flags(args).items():
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    recipe = validate(EvalRecipe, values, source="sbr eval")
    if args.run is None and args.recipe is None and args.dtype is None:
        refuse_early(recipe)  # what follows imports torch
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dtype": default_dtype()})})
    return recipe


def values_of_run(run: Path) -> dict[str, Any]:
    """What an evaluation takes over from the recipe.json of a training run.  Raises ConfigError."""
    file, model = run / "recipe.json", run / "final"
    if not file.is_file() or not model.is_dir():
        raise ConfigError(f"--run {run} is not a finished training run: it lacks recipe.json or final/")
    trained, answers = _recipe_of_run(file)
    return {
        "model": {"path": str(model), "dtype": trained["model"]["dtype"]},
        "data": {key: trained["data"][key] for key in ("root", "source", "cache", "cache_dir")},
        "output_dir": str(run / "eval"),
        "frames": trained["frames"],
        "prompt": trained["prompt"],
        "eval": answers,
    }


def _recipe_of_run(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a training run's recipe.json, and the length and rule of its answers.  Raises ConfigError."""
    if "algo" not in read_json(file, "name a run that `sbr grpo` or `sbr sft` has written"):
        sft = read_resolved(SftRecipe, file)
        shown = {"max_new_tokens": sft.validation.max_new_tokens, "rule": sft.validation.rule}
        return sft.model_dump(mode="json"), shown
    grpo = read_resolved(GrpoRecipe, file)
    return grpo.model_dump(mode="json"), {"max_new_tokens": grpo.rollout.max_new_tokens, "rule": grpo.reward.rule}


def default_dtype() -> str:
    """bfloat16 is what the paper uses; on a CPU it is slow and coarse, so there float32."""
    import torch

    return "bfloat16" if torch.cuda.is_available() else "float32"


def _flags(args: Args) -> dict[str, Any]:
    """Dotted recipe keys of the flags that were given."""
    if args.blind and args.no_video:
        raise ConfigError("sbr eval takes --blind or --no-video, not both; --blind shows no video either")
    levels = None if args.levels is None else [level.strip() for level in args.levels.split(",")]
    values = {
        "model.path": args.model,
        "model.dtype": args.dtype,
        "data.root": None if args.data is None else str(args.data),
        "data.source": args.source,
        "output_dir": None if args.out is None else str(args.out),
        "eval.levels": levels,
        "eval.limit": args.limit,
        "eval.protocol": args.protocol,
        "eval.samples": args.samples,
        "eval.rule": args.rule,
        "eval.batch_size": args.batch_size,
        "eval.control": "blind" if args.blind else "no_video" if args.no_video else None,
        "eval.shuffle_options": args.shuffle_options or None,
        "eval.seed": args.seed,
        "eval.max_new_tokens": args.max_new_tokens,
        "engine.kind": args.engine,
        "engine.url": args.url,
        "engine.concurrency": args.concurrency,
    }
    return {key: value for key, value in values.items() if value is not None}
