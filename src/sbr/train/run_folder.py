"""The folder of a run: may it be started or continued?  Which files lie in it?

    recipe.json          the recipe as used, defaults included
    metrics.jsonl        one line a step (`StepMetrics`, of SFT `SftMetrics`)
    completions.jsonl    GRPO: the completions of every n-th step (`CompletionRecord`)
    checkpoint-<step>/   ordinary Hugging Face folder and training_state/
    final/               ordinary Hugging Face folder of the last step; with LoRA both hold the adapter alone
    cold_start/          GRPO after a cold start: the run folder of the SFT before it

Nothing here imports torch, so that the command line can refuse a wrong start at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sbr.config import TrainRecipe, ValidationConfig, with_defaults
from sbr.errors import CheckpointError, ConfigError
from sbr.train import journal

RECIPE = "recipe.json"
METRICS = "metrics.jsonl"
COMPLETIONS = "completions.jsonl"
FINAL = "final"
COLD_START = "cold_start"
STATE = Path("training_state") / "state.json"

_IN_TRAINING = {
    *("train.save_every", "train.keep_checkpoints"),
    *(f"validation.{key}" for key in ValidationConfig.model_fields if key != "share"),
}
MAY_CHANGE = frozenset(
    {
        *("output_dir", "log.trackers", "log.completions_every", "data.cache", "data.cache_dir"),
        *(prefix + key for prefix in ("", "cold_start.") for key in _IN_TRAINING),
    }
)
"""Keys that may differ when a run is resumed: they change what is written, not what is learned."""


def check_start(recipe: TrainRecipe, resume: bool) -> None:
    """Raise ConfigError when a run lies in `output_dir` and `resume` is not asked for, CheckpointError when the run in
    there used another recipe.  Changes nothing."""
    folder = recipe.output_dir
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output_dir {folder} is a file; choose another --output_dir")
    if not resume:
        if holds_run(folder):
            raise ConfigError(
                f"output_dir {folder} already holds a run; continue it with --resume, or choose another --output_dir"
            )
        return
    newest = newest_checkpoint(folder)
    saved = newest / STATE if newest else folder / RECIPE
    if saved.exists():
        values = _read_json(saved)
        check_recipe(values["recipe"] if newest else values, recipe, saved)


def open_folder(recipe: TrainRecipe) -> int:
    """Make the folder ready and return the step to continue after (0 for a new run).

    Writes recipe.json, drops journal lines of steps after the newest checkpoint and removes what an interrupted save
    left behind.
    """
    folder = recipe.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    newest = newest_checkpoint(folder)
    step = step_of(newest) if newest else 0
    for name in (METRICS, COMPLETIONS):
        journal.cut_after(folder / name, step)
    draft = folder / f".{RECIPE}.tmp"
    draft.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / RECIPE)
    return step


def holds_run(folder: Path) -> bool:
    names = (RECIPE, METRICS, FINAL, COLD_START)
    return any((folder / name).exists() for name in names) or newest_checkpoint(folder) is not None


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if (path / STATE).exists()]
    return sorted(found, key=step_of)


def newest_checkpoint(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """
    >>> step_of(Path("runs/a/checkpoint-200"))
    200
    """
    return int(checkpoint.name.removeprefix("checkpoint-"))


def check_recipe(saved: Mapping[str, Any], recipe: TrainRecipe, source: Path) -> None:
    """Raise CheckpointError naming every key that differs from the saved recipe, apart from `MAY_CHANGE`."""
    before, now = dict(_flat(with_defaults(type(recipe), saved))), dict(_flat(recipe.model_dump(mode="json")))
    lines = [
        f"{key}: {json.dumps(before.get(key))} then, {json.dumps(now.get(key))} now"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if lines:
        raise CheckpointError(
            f"the run in {recipe.output_dir} used another recipe ({source}):\n  "
            + "\n  ".join(lines)
            + "\nA resumed run continues exactly, so these must agree; set them back, or start a new run with another "
            "--output_dir"
        )


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); remove its folder and resume again") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
