"""The folder of a run: may it be started or continued?  Which files lie in it?

    recipe.json          the recipe as used, defaults included
    inputs.json          fingerprints of the files that decide what is learned
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

from sbr.config.load import with_defaults
from sbr.config.recipes import SftRecipe, TrainRecipe
from sbr.config.training import ValidationConfig
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.cot import cot_path
from sbr.data.sources.select import training_path
from sbr.errors import CheckpointError, ConfigError
from sbr.files import replace_file
from sbr.resume.folder import INPUTS, RECIPE, fingerprint
from sbr.train import journal

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
    there used another recipe or other annotation files.  Changes nothing."""
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
        values = _read_json(saved, newest or folder)
        check_recipe(values["recipe"] if newest else values, recipe, saved)
    if (folder / INPUTS).exists() and not (folder / FINAL).exists():  # a finished run reads no rows
        check_inputs(folder, annotation_files(recipe))


def annotation_files(recipe: TrainRecipe) -> dict[str, Path]:
    """The annotation files that decide what a run learns, by names for messages.

    Those of a cold start are checked in its own folder.  The file that tells SFT the videos of its rows may be absent.
    """
    data = recipe.data
    if not isinstance(recipe, SftRecipe):
        return {data.train_file: training_path(data)}
    files = {data.cot_file: cot_path(DataRoot(data.root), data.cot_file)}
    return files if recipe.validation.share == 0 else files | {data.train_file: training_path(data)}


def check_inputs(folder: Path, files: Mapping[str, Path]) -> None:
    """Raise CheckpointError naming every file that is another than when the run in `folder` was started.

    A new run has nothing to compare with, and neither has one of a version that kept no fingerprints.
    """
    if not (folder / INPUTS).exists():
        return
    then, now = _read_json(folder / INPUTS, folder / INPUTS), _fingerprints(files)
    if changed := [name for name in files if then.get(name) != now.get(name)]:
        lines = [f"{name} ({files[name]}) {'has changed' if name in now else 'is gone'}" for name in changed]
        raise CheckpointError(
            f"the run in {folder} was started with other files:\n  "
            + "\n  ".join(lines)
            + "\nA resumed run continues exactly, so these must be what they were; restore them, or start a new run "
            "with another --output_dir"
        )


def open_folder(recipe: TrainRecipe, inputs: Mapping[str, Path]) -> int:
    """Make the folder ready and return the step to continue after (0 for a new run).

    `inputs` are the files that decide what is learned, by names for messages.  Writes recipe.json and, in a folder that
    has none, inputs.json; drops journal lines of steps after the newest checkpoint and removes what an interrupted save
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
    if not ((folder / RECIPE).exists() and (folder / INPUTS).exists()):
        replace_file(folder / INPUTS, (json.dumps(_fingerprints(inputs), indent=2) + "\n").encode())
    replace_file(folder / RECIPE, (recipe.model_dump_json(indent=2) + "\n").encode())
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


def _fingerprints(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: fingerprint(file) for name, file in files.items() if file.is_file()}


def _read_json(file: Path, doubtful: Path) -> Mapping[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); remove {doubtful} and resume again") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
