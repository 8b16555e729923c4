"""`sbr demo`: the whole path on the miniature, from drawing the videos to the table of base and GRPO."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import tyro


@dataclass(frozen=True)
class Args:
    """Build SBR-Mini, evaluate the base model, post-train it with GRPO, evaluate again, and print the table.

    Everything runs through the code that a 7B run uses; only the recipes are smaller.  A stopped demo continues where
    it was: repeat the command.

    Examples:
      sbr demo
      sbr demo --out runs/quick --train 200 --val 60 --steps 20     a look in a minute or two
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
    """Seed of the GRPO run; the data is always built with seed 0."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr demo` and run the stages one after the other."""
    args = tyro.cli(Args, args=arguments, prog="sbr demo", description=inspect.getdoc(Args))

    from importlib.resources import files

    import transformers
    from rich.console import Console

    from sbr.cli import compare, mini
    from sbr.cli.training import TrainingBar
    from sbr.config import EvalRecipe, GrpoRecipe, load_recipe
    from sbr.eval.runner import evaluate
    from sbr.train import run_folder
    from sbr.train.loop import train_grpo

    transformers.utils.logging.disable_progress_bar()
    console = Console()
    recipes = Path(str(files("sbr"))) / "recipes" / "mini"
    data, base = args.out / "data", args.out / "eval_base"
    trained, after = args.out / f"grpo_{args.seed}", args.out / f"eval_grpo_{args.seed}"
    started = perf_counter()

    def stage(number: int, text: str) -> None:
        minutes = (perf_counter() - started) / 60
        console.print(f"[bold]{number}/5[/] {text} [dim]({minutes:.1f} min so far)[/]", soft_wrap=True)

    stage(1, f"Drawing SBR-Mini: {args.train} training and 3 x {args.val} validation questions -> {data}")
    mini.draw(mini.Build(data, train=args.train, val=args.val))

    stage(2, "Asking the base model")
    shared = ["--data.root", str(data)]
    evaluation = load_recipe(EvalRecipe, recipes / "eval.toml", [*shared, "--output_dir", str(base)])
    evaluate(evaluation)

    stage(3, "Post-training with GRPO")
    words = [*shared, "--output_dir", str(trained), "--train.seed", str(args.seed)]
    if args.steps is not None:
        words += ["--train.max_steps", str(args.steps)]
    recipe = load_recipe(GrpoRecipe, recipes / "grpo.toml", words)
    if not (trained / run_folder.FINAL).exists():
        with TrainingBar(console) as bar:
            train_grpo(recipe, run_folder.holds_run(trained), bar)

    stage(4, "Asking the trained model")
    evaluate(
        load_recipe(
            EvalRecipe,
            recipes / "eval.toml",
            [*shared, "--output_dir", str(after), "--model.path", str(trained / run_folder.FINAL)],
        )
    )

    stage(5, "Comparing, question by question")
    table = args.out / f"table_{args.seed}.md"
    compare.show({"base": base, "GRPO": after}, table, console)
    console.print(
        f"Data {data}\nRuns {base}, {trained}, {after}\nTable {table}\n"
        f"Watch a question: {data / 'videos'}; read the answers: {after / 'records.jsonl'}\n"
        f"Took {(perf_counter() - started) / 60:.1f} minutes.",
        highlight=False,
        soft_wrap=True,
    )
