"""`sbr demo`: the whole path on the miniature, from drawing the videos to the table of base, SFT, GRPO and both."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import tyro

STAGES = 7


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


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr demo` and run the stages one after the other."""
    args = tyro.cli(Args, args=arguments, prog="sbr demo", description=inspect.getdoc(Args))

    from importlib.resources import files

    from rich.text import Text

    from sbr.cli import compare, mini
    from sbr.cli.asking import AskingBar, KeptSoFar
    from sbr.cli.console import Terminal, quiet_transformers
    from sbr.cli.eval import evaluate_and_tabulate
    from sbr.cli.training import TrainingBar
    from sbr.config.load import load_recipe
    from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe

    console = Terminal()
    recipes = Path(str(files("sbr"))) / "recipes" / "mini"
    data, distilled = args.out / "data", args.out / "distill"
    shared = ["--data.root", str(data)]
    started = perf_counter()
    stages = iter(range(1, STAGES + 1))

    def stage(text: str) -> None:
        minutes = (perf_counter() - started) / 60
        number = (f"{next(stages)}/{STAGES}", "bold")
        console.print(Text.assemble(number, f" {text} ", (f"({minutes:.1f} min so far)", "dim")), soft_wrap=True)

    def ask(folder: Path, model: Path | None = None) -> Path:
        words = [*shared, "--output_dir", str(folder)] + ([] if model is None else ["--model.path", str(model)])
        evaluate_and_tabulate(load_recipe(EvalRecipe, recipes / "eval.toml", words))
        return folder

    def recipe_of(name: str, folder: Path, more: Sequence[str] = ()) -> GrpoRecipe:
        words = [*shared, "--output_dir", str(folder), "--train.seed", str(args.seed), *more]
        if args.steps is not None:
            words += ["--train.max_steps", str(args.steps)]
        return load_recipe(GrpoRecipe, recipes / name, words)

    recipe_of("grpo.toml", args.out)  # refuses --steps and --seed before anything is drawn
    stage(f"Drawing SBR-Mini: {args.train} training and 3 x {args.val} validation questions -> {data}")
    mini.draw(mini.Build(data, train=args.train, val=args.val))

    from sbr.distill.rows import COT_FILE
    from sbr.distill.runner import distill
    from sbr.train import run_folder
    from sbr.train.grpo.loop import train_grpo

    quiet_transformers()

    def train(recipe: GrpoRecipe) -> Path:
        with TrainingBar() as bar:  # a finished run is only compared with the recipe
            train_grpo(recipe, run_folder.holds_run(recipe.output_dir), bar)
        return recipe.output_dir / run_folder.FINAL

    stage("Asking the base model")
    asked = {"base": ask(args.out / "eval_base")}

    stage("Distilling: the base model answers the training questions, and its right answers are kept")
    teacher = load_recipe(DistillRecipe, recipes / "distill.toml", [*shared, "--output_dir", str(distilled)])
    with AskingBar(KeptSoFar(teacher.distill)) as bar:
        report = distill(teacher, bar)
    console.print(f"{report.kept} of {report.answers} answers kept")

    stage("SFT on them, then GRPO")
    both = args.out / f"sft_grpo_{args.seed}"
    few = min(16, max(1, report.questions_kept // 8))  # questions a step, for demos of a few questions
    sft = [
        *("--data.cot_file", str(distilled / COT_FILE), "--cold_start.train.seed", str(args.seed)),
        *("--cold_start.train.prompts_per_step", str(few)),
    ]
    trained = {"SFT+GRPO": train(recipe_of("sft_grpo.toml", both, sft))}
    trained["SFT"] = both / run_folder.COLD_START / run_folder.FINAL

    stage("GRPO from the base model")
    trained["GRPO"] = train(recipe_of("grpo.toml", args.out / f"grpo_{args.seed}"))

    stage("Asking the trained models")
    for name in ("SFT", "GRPO", "SFT+GRPO"):
        folder = args.out / f"eval_{name.lower().replace('+', '_')}_{args.seed}"
        asked[name] = ask(folder, trained[name])

    stage("Comparing, question by question")
    table = args.out / f"table_{args.seed}.md"
    compare.show(asked, table, console)

    console.print(
        f"Data {data}\nRuns {both}, {trained['GRPO'].parent}\nTable {table}\n"
        f"Two models in detail: sbr compare {asked['base']} {asked['GRPO']}\n"
        f"Watch a question: {data / 'videos'}; read the answers: {asked['GRPO'] / 'records.jsonl'}\n"
        f"Took {(perf_counter() - started) / 60:.1f} minutes.",
        soft_wrap=True,
    )
