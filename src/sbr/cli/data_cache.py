"""`sbr data cache ROOT`: decode every clip once and keep its frames."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from pydantic import ConfigDict

from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import load_recipe, validate
from sbr.config.section import Section, Source
from sbr.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.frames.cache import FrameCache
    from sbr.frames.fill import Filling


@dataclass(frozen=True)
class Cache:
    """Decode every clip and image of a data root once and keep the frames; training and evaluation then read them.

    What is there already is checked and kept, so the command can be interrupted, repeated, and run by several
    processes at once.  Frames belong to their settings: take those of the recipe that will read them.
    Exit status 0: every medium is in the cache; 1: some cannot be used; 2: wrong use, or nothing can be written.

    Examples:
      sbr data cache data/SEED-Bench-R1                                       the official frames, Qwen2-VL
      sbr data cache data/mini --recipe recipes/mini/grpo.toml                frames and sizes of a recipe
      sbr data cache data/SEED-Bench-R1 --splits L1,L2,L3 --max-frames 32
      sbr data cache data/SEED-Bench-R1 --factor 32                           sizes for Qwen3-VL
      sbr data cache data/SEED-Bench-R1 --folder /scratch/frames              then set data.cache_dir to it
      sbr data cache data/EgoPlan-Bench --source egoplan --splits L1          another source (docs/formats.md)
    """

    root: tyro.conf.Positional[Path]
    """Folder of the data: with annotations/, videos/ and images/, or as its source asks for (docs/formats.md)."""
    recipe: Path | None = None
    """Recipe of a training or an evaluation, in TOML: its source, its frames and the sizes its model needs."""
    source: Source | None = None
    """Whose files lie in ROOT (default: that of the recipe, else seed_bench_r1)."""
    splits: str | None = None
    """Comma-separated, out of train,L1,L2,L3, or val of LongVideoBench (default: all that are there; one
    that is named must be there)."""
    folder: Path | None = None
    """Where the frames are kept (default: that of the recipe, else ROOT/.cache/sbr_frames)."""
    fps: float | None = None
    """Frames a second; wins over the recipe, as the next ones do."""
    min_frames: int | None = None
    """Fewest frames of a clip."""
    max_frames: int | None = None
    """Most frames of a clip."""
    height: int | None = None
    """Pixels, rounded to a multiple of --factor."""
    width: int | None = None
    """Pixels, rounded to a multiple of --factor."""
    factor: int | None = None
    """Sizes are multiples of this: 28 for Qwen2-VL and Qwen2.5-VL, 32 for Qwen3-VL (default: that of the recipe's
    model, else 28)."""
    workers: int | None = None
    """Media decoded at once (default: one per core)."""


class FramesRecipe(Section):
    """`sbr data cache RECIPE`"""

    model_config = ConfigDict(extra="ignore", frozen=True)  # what a recipe says beside this does not matter here

    model: ModelConfig
    data: DataConfig
    frames: FramesConfig = FramesConfig()


def cache(args: Cache) -> None:
    """Fill the cache with a progress bar and report; SystemExit(1) if a medium cannot be used."""
    recipe = None if args.recipe is None else load_recipe(FramesRecipe, args.recipe)
    config = frames_config(args, recipe)
    splits = None if args.splits is None else [split.strip() for split in args.splits.split(",")]
    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers is {args.workers}; it is 1 or more")
    if args.factor is not None and not 1 <= args.factor <= 256:
        raise ConfigError(f"--factor is {args.factor}; it is 28 for Qwen2-VL and Qwen2.5-VL, 32 for Qwen3-VL")

    # Everything that can be refused comes before the imports that take seconds.
    from sbr.cli.console import Terminal
    from sbr.cli.progress import steps_progress
    from sbr.frames.cache import FOLDER, FrameCache
    from sbr.frames.media import media_of_root, splits_of
    from sbr.frames.sampling import SIZE_FACTOR

    data = recipe.data if recipe else DataConfig(root=args.root)
    data = data.model_copy(update={"root": args.root, "source": args.source or data.source, "subtitles": False})
    known = splits_of(data)
    if unknown := [split for split in splits or () if split not in known]:
        raise ConfigError(
            f"--splits names {', '.join(map(repr, unknown))}; the splits of {data.source} are {', '.join(known)}"
        )
    media = media_of_root(data, splits)
    folder = args.folder or data.cache_dir or args.root / FOLDER
    opened = FrameCache(args.root, folder, adds=True)
    factor = args.factor or (SIZE_FACTOR if recipe is None else model_factor(recipe.model.path))

    import torch

    from sbr.frames.fill import fill

    torch.set_num_threads(1)  # the workers are the parallelism
    console = Terminal()
    if media.left_out:
        console.print(f"no annotation file of {', '.join(media.left_out)}: left out")
    workers = args.workers or os.cpu_count() or 1
    with steps_progress() as bar:
        task = bar.add_task("media", total=len(media.videos) + len(media.images), figures="")

        def show(done: int, total: int) -> None:
            figures = f"{opened.counts.bytes / 1e9:.2f} GB, {opened.counts.hits} were there"
            bar.update(task, completed=done, total=total, figures=figures)

        filling = fill(opened, media, config, factor, workers, show)
    report(opened, filling, config, factor, console)
    if filling.failures:
        raise SystemExit(1)


def frames_config(args: Cache, recipe: FramesRecipe | None) -> FramesConfig:
    """The frames of the recipe, or the official ones, with the flags laid over them.  Raises ConfigError."""
    values = (recipe.frames if recipe else FramesConfig()).model_dump()
    flags = {name: getattr(args, name) for name in values}
    values |= {name: value for name, value in flags.items() if value is not None}
    return validate(FramesConfig, values, source="sbr data cache")


def model_factor(path: str) -> int:
    """Pixels of one visual token of a checkpoint."""
    from sbr.config.inputs import PromptConfig
    from sbr.model.load import load_processor
    from sbr.prompt.encode import PromptEncoder

    return PromptEncoder(load_processor(path), PromptConfig()).size_factor


def report(opened: FrameCache, filling: Filling, config: FramesConfig, factor: int, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from sbr.frames.sampling import resized_size

    counts = filling.counts
    height, width = resized_size(config, factor)
    console.print(
        f"Frame cache {opened.folder}: {config.fps:g} frames a second, {config.min_frames} to {config.max_frames}, of "
        f"{height} x {width} pixels",
        soft_wrap=True,
    )
    rows = (
        ("entries", counts.hits + counts.built + counts.rebuilt, f"{counts.bytes / 1e9:.3f} GB"),
        ("hits", counts.hits, "were there, checksums right"),
        ("built", counts.built, ""),
        ("rebuilt", counts.rebuilt, f"{counts.damaged} damaged, {counts.stale} stale (file or libraries changed)"),
        ("failed", len(filling.failures), ""),
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for name, count, remark in rows:
        table.add_row(Text(name, "red" if name == "failed" and count else ""), f"{count:,}", remark)
    console.print(table)
    entries, size = opened.content()
    console.print(
        f"{filling.seconds:.1f} s, {filling.media / filling.seconds:,.1f} media and "
        f"{counts.bytes / 1e6 / filling.seconds:,.1f} MB of frames a second; "
        f"the folder holds {entries:,} entries, {size / 1e9:.3f} GB",
        soft_wrap=True,
    )
    for failure in filling.failures:
        console.print(f"  {failure}", soft_wrap=True)
