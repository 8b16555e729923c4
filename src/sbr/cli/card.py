"""`sbr card MODEL EVALUATION...`: results into the model card."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.errors import ConfigError


@dataclass(frozen=True)
class Args:
    """Write the results of evaluations into a model card, the README.md that lies beside the weights.

    The results named here take the place of those that were there; what you have written around the marked blocks
    stays. A run from before there were cards gets one. An evaluation of other weights is refused.

    Examples:
      sbr card runs/mini/grpo                                           its final/ with the results in its eval/
      sbr card runs/mini/grpo runs/mini/grpo/eval runs/mini/rotated     several evaluations
      sbr card runs/lora/merged runs/lora/eval_merged                   any folder that has a card
    """

    model: tyro.conf.Positional[Path]
    """Folder of a training run (its final/ is meant) or of a model."""
    evaluations: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders that `sbr eval` has written; of a run the default is RUN/eval."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr card` and write the card."""
    args = tyro.cli(Args, args=arguments, prog="sbr card", description=inspect.getdoc(Args))

    from sbr.card.blocks import CARD, read_card
    from sbr.cli.console import Terminal
    from sbr.eval.card import write_results
    from sbr.train.run_folder import FINAL

    of_run = (args.model / FINAL).is_dir()
    model = args.model / FINAL if of_run else args.model
    if not model.is_dir():
        raise ConfigError(f"{args.model} is no folder of a finished run or of a model")
    evaluations = args.evaluations or ((args.model / "eval",) if of_run else ())
    if not evaluations:
        raise ConfigError(f"name the folders of the evaluations of {model}: sbr card {args.model} EVALUATION...")
    card = read_card(model)
    if card is None:
        if not of_run:
            raise ConfigError(f"{model} has no {CARD} to write into; name the folder of its run, or write one")
        card = _card_of_run(args.model)
    write_results(card, model, evaluations)
    count = f"{len(evaluations)} evaluation{'s' if len(evaluations) > 1 else ''}"
    Terminal().print(f"{model / CARD}: results of {count}", soft_wrap=True)


def _card_of_run(folder: Path) -> str:
    """For a run from before there were cards."""
    from sbr.card.card import card_of_training
    from sbr.config.load import read_resolved
    from sbr.config.recipes import GrpoRecipe, SftRecipe
    from sbr.resume.folder import RECIPE, read_json
    from sbr.train.journal import steps
    from sbr.train.run_folder import METRICS, read_trained

    file = folder / RECIPE
    kind = GrpoRecipe if "algo" in read_json(file, "name the folder of a training run") else SftRecipe
    recipe = read_resolved(kind, file).model_copy(update={"output_dir": folder})
    return card_of_training(read_trained(recipe, max(steps(folder / METRICS), default=0)))
