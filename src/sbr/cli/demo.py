"""`sbr demo`: the whole path on the miniature, from drawing the videos to the table of base, SFT, GRPO and both."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import tyro

from sbr.cli import jobs
from sbr.cli.progress import Bars
from sbr.errors import ConfigError

if TYPE_CHECKING:
    from sbr.config.recipes import EvalRecipe, GrpoRecipe
    from sbr.distill.report import Report

STAGES = 5

LOOKS = 20
"""Questions a level whose attention is recorded."""

JUDGED = 100
"""Questions a level whose answers are asked for again without their reasoning, and with another one."""


@dataclass(frozen=True)
class Args:
    """Build SBR-Mini, let the base model answer, distil its right answers, post-train it with SFT, with GRPO and with
    GRPO after SFT, let every model answer, and print the table.

    Everything runs through the code that a 7B run uses; only the recipes are smaller.  A stopped demo continues where
    it was: repeat the command.

    Examples:
      sbr demo
      sbr demo --out runs/quick --train 200 --val 60 --steps 20     a quick look; its figures mean little
      sbr demo --seed 1
    """

    out: Path = Path("runs/demo")
    """Folder for the data, the runs and the table."""
    train: int = 1600
    """Training questions."""
    val: int = 300
    """Validation questions a level."""
    steps: int | None = None
    """GRPO steps (default: those of recipes/mini/grpo.toml)."""
    seed: int = 0
    """Seed of the training runs; the data and the distilled answers always have seed 0."""
    jobs: int | None = None
    """Runs at the same time (default: 2 where there are two cores and no GPU, else 1)."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr demo` and run the stages one after the other."""
    args = tyro.cli(Args, args=arguments, prog="sbr demo", description=inspect.getdoc(Args))
    if args.jobs is not None and args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; give 1 or more")

    from importlib.resources import files

    from rich.text import Text

    from sbr.cli import compare, mini
    from sbr.cli import report as report_page
    from sbr.cli.console import Terminal, without_counts
    from sbr.cli.side_by_side import SideBySide
    from sbr.config.load import load_recipe
    from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe
    from sbr.distill.rows import COT_FILE
    from sbr.train import run_folder

    console = Terminal()
    recipes = Path(str(files("sbr"))) / "recipes" / "mini"
    data, distilled = args.out / "data", args.out / "distill"
    shared = ["--data.root", str(data), "--data.cache", "on"]  # every clip is decoded once, for all runs
    started = perf_counter()
    stages = iter(range(1, STAGES + 1))

    def stage(text: str) -> None:
        minutes = (perf_counter() - started) / 60
        number = (f"{next(stages)}/{STAGES}", "bold")
        console.print(Text.assemble(number, f" {text} ", (f"({minutes:.1f} min so far)", "dim")), soft_wrap=True)

    def asking(folder: Path, model: Path | None = None) -> EvalRecipe:
        words = [*shared, "--output_dir", str(folder)] + ([] if model is None else ["--model.path", str(model)])
        return load_recipe(EvalRecipe, recipes / "eval.toml", words)

    def training(name: str, folder: Path, more: Sequence[str] = ()) -> GrpoRecipe:
        words = [*shared, "--output_dir", str(folder), "--train.seed", str(args.seed), *more]
        if args.steps is not None:
            words += ["--train.max_steps", str(args.steps)]
        return load_recipe(GrpoRecipe, recipes / name, words)

    training("grpo.toml", args.out)  # refuses --steps and --seed before anything is drawn
    stage(f"Drawing SBR-Mini: {args.train} training and 3 x {args.val} validation questions -> {data}")
    mini.draw(mini.Build(data, train=args.train, val=args.val))

    at_once = args.jobs or _at_once()
    threads = max(1, (os.cpu_count() or 1) // at_once)
    with without_counts(), SideBySide(at_once, threads) as side_by_side:
        stage(
            "Asking the base model and looking closer; distilling: its right answers to the training questions are kept"
        )
        asked = {"base": args.out / "eval_base"}
        teacher = load_recipe(DistillRecipe, recipes / "distill.toml", [*shared, "--output_dir", str(distilled)])
        found = side_by_side.run(
            {"distilling": partial(jobs.distil, teacher), "base": partial(_ask, asking(asked["base"]))}
        )
        report: Report = found["distilling"]
        console.print(f"{report.kept} of {report.answers} answers kept")

        stage("SFT on them, then GRPO; beside it GRPO from the base model, and its answers")
        both, alone = args.out / f"sft_grpo_{args.seed}", args.out / f"grpo_{args.seed}"
        few = min(16, max(1, report.questions_kept // 8))  # questions a step, for demos of a few questions
        sft = [
            *("--data.cot_file", str(distilled / COT_FILE), "--cold_start.train.seed", str(args.seed)),
            *("--cold_start.train.prompts_per_step", str(few)),
        ]
        trained = {
            "SFT": both / run_folder.COLD_START / run_folder.FINAL,
            "GRPO": alone / run_folder.FINAL,
            "SFT+GRPO": both / run_folder.FINAL,
        }
        asked |= {name: args.out / f"eval_{name.lower().replace('+', '_')}_{args.seed}" for name in trained}
        answers = {name: asking(asked[name], model) for name, model in trained.items()}
        side_by_side.run(
            {
                "SFT+GRPO": partial(jobs.train, training("sft_grpo.toml", both, sft)),
                "GRPO": partial(_train_and_ask, training("grpo.toml", alone), answers["GRPO"]),
            }
        )

        stage("Asking the other two trained models and looking closer")
        side_by_side.run({name: partial(_ask, answers[name]) for name in ("SFT", "SFT+GRPO")})

    stage("Comparing, question by question")
    table, page = args.out / f"table_{args.seed}.md", args.out / f"report_{args.seed}.html"
    compare.show(asked, table, console)
    report_page.write(
        report_page.Args(
            tuple(asked.values()),
            page,
            names=tuple(asked),
            title=f"SBR-Mini: base, SFT, GRPO and both, seed {args.seed}",
        )
    )

    console.print(
        f"Data {data}\nRuns {both}, {alone}\nTable {table}\n"
        f"Two models in detail: sbr compare {asked['base']} {asked['GRPO']}\n"
        f"Everything on one page, answers beside the frames: {page.resolve()}\n"
        f"Took {(perf_counter() - started) / 60:.1f} minutes.",
        soft_wrap=True,
    )


def _at_once() -> int:
    """Two runs of one thread each take less time than one after the other with two; a GPU serves one at a time."""
    import torch

    return 1 if torch.cuda.is_available() or (os.cpu_count() or 1) < 2 else 2


def _ask(recipe: EvalRecipe, bars: Callable[[], Bars]) -> None:
    """Answers, then what stands in their folder: consistency and attention of the same questions for every model."""
    from sbr.analysis.attention_run import look_into
    from sbr.analysis.attention_sample import draw
    from sbr.analysis.consistency import analyse_consistency
    from sbr.analysis.evaluated import read_evaluated
    from sbr.cli.analyze_consistency import Bar
    from sbr.config.attention import AttentionConfig
    from sbr.config.consistency import ConsistencyRecipe

    jobs.ask(recipe, bars)
    (run,) = read_evaluated({recipe.output_dir.name: recipe.output_dir})
    questions = draw([run], LOOKS)
    with Bar("", bars) as bar:
        analyse_consistency(run, ConsistencyRecipe(per_level=JUDGED), bar)
        bar.began("attention", 0, len(questions))
        look_into(run, questions, AttentionConfig(per_level=LOOKS), bar.reached)


def _train_and_ask(recipe: GrpoRecipe, answers: EvalRecipe, bars: Callable[[], Bars]) -> None:
    jobs.train(recipe, bars)
    _ask(answers, bars)
