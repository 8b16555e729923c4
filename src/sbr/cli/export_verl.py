"""`sbr export verl DIR --data ROOT`: questions as verl's parquet files, and the reward it calls."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.cli.data_cache import FramesRecipe
from sbr.config.inputs import DataConfig, FramesConfig
from sbr.config.load import load_recipe
from sbr.config.section import Source


@dataclass(frozen=True)
class Args:
    """Write the questions of a data root for verl: train.parquet, val_L1.parquet and so on, and reward.py.

    Rows name the media where they lie, with video and image, and the rule by which verl takes frames. reward.py holds
    our rule and needs no other package, so verl's workers need not have this one.

    Examples:
      sbr export verl exports/verl --data data/SEED-Bench-R1
      sbr export verl exports/verl --data data/mini --recipe recipes/mini/grpo.toml    frames and seed of a recipe
      sbr export verl exports/verl_L3 --data data/SEED-Bench-R1 --splits L3 --limit 200
    """

    out: tyro.conf.Positional[Path]
    """Folder to write: new, empty, or an earlier export for verl."""
    data: Path
    """Folder of the data."""
    recipe: Path | None = None
    """A training recipe in TOML: its source, training file, seed of the options, and frames."""
    source: Source | None = None
    """Whose files lie in the folder (default: that of the recipe, else seed_bench_r1)."""
    splits: str | None = None
    """Comma-separated, out of train,L1,L2,L3 (default: all that are there)."""
    limit: int | None = None
    """At most so many questions a split."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr export verl`, write the folder, and say how verl reads it."""
    args = tyro.cli(Args, args=arguments, prog="sbr export verl", description=inspect.getdoc(Args))
    recipe = None if args.recipe is None else load_recipe(FramesRecipe, args.recipe)
    data = recipe.data if recipe else DataConfig(root=args.data)
    changes = {"root": args.data, "source": args.source or data.source, "limit": args.limit, "subtitles": False}
    splits = None if args.splits is None else [split.strip() for split in args.splits.split(",")]
    if args.limit is not None and args.limit < 1:
        from sbr.errors import ConfigError

        raise ConfigError(f"--limit is {args.limit}; it is 1 or more")

    from sbr.cli.console import Terminal
    from sbr.integrations.verl import REWARD, export_verl, verl_words

    console = Terminal()
    with console.status("writing questions"):
        exported = export_verl(
            args.out, data.model_copy(update=changes), recipe.frames if recipe else FramesConfig(), splits
        )
    for name, rows in exported.rows.items():
        console.print(f"{args.out / name}: {rows:,} questions", soft_wrap=True)
    console.print(f"{args.out / REWARD}: compute_score, the rule official unless you choose another", soft_wrap=True)
    if exported.left_out:
        console.print(f"no annotation file of {', '.join(exported.left_out)}: left out")
    words = " \\\n    ".join(
        ["python -m verl.trainer.main_ppo algorithm.adv_estimator=grpo", *verl_words(args.out, exported)]
    )
    console.print(
        f"Next, with your model and machine (Qwen3-VL: image_patch_size=16):\n  {words}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
