"""The folder of a run: may it be started or continued?  Which files lie in it?

    recipe.json          the recipe as used, defaults included
    inputs.json          fingerprints of the files that decide what is learned
    metrics.jsonl        one line a step (`GrpoMetrics`, of SFT `SftMetrics`)
    completions.jsonl    GRPO: the completions of every n-th step (`CompletionRecord`)
    validation.jsonl     GRPO with a guard: every answer of every look (`sbr.train.validation.Answered`)
    best-<step>/         GRPO that its guard may stop: the model of the best look
    checkpoint-<step>/   ordinary Hugging Face folder and training_state/
    final/               ordinary Hugging Face folder of the last step; with LoRA both hold the adapter alone
    cold_start/          GRPO after a cold start: the run folder of the SFT before it

Nothing here imports torch, so that the command line can refuse a wrong start at once.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from sbr.card.training import Trained
from sbr.config.recipes import SftRecipe, TrainRecipe
from sbr.config.training import GrpoValidationConfig, SftValidationConfig
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.cot import cot_path
from sbr.data.sources.select import training_path
from sbr.errors import CheckpointError, ConfigError
from sbr.resume.folder import (
    INPUTS,
    RECIPE,
    Work,
    changed_inputs,
    differences,
    fingerprints,
    read_json,
    refuse_strange_files,
    start_folder,
)
from sbr.train import journal

METRICS = "metrics.jsonl"
COMPLETIONS = "completions.jsonl"
LOOKS = "validation.jsonl"
JOURNALS = (METRICS, COMPLETIONS, LOOKS)
FINAL = "final"
COLD_START = "cold_start"
STATE = Path("training_state") / "state.json"
WORK = Work("a training run", "--output_dir")

_IN_TRAINING = {
    *("train.save_every", "train.keep_checkpoints", "train.sharding", "train.deadline"),
    *(
        f"validation.{key}"
        for key in SftValidationConfig.model_fields | GrpoValidationConfig.model_fields
        if key != "share"
    ),
}
MAY_CHANGE = frozenset(
    {
        *("log.trackers", "log.completions_every"),
        *(prefix + key for prefix in ("", "cold_start.") for key in _IN_TRAINING),
    }
)
"""Keys that may differ when a run is resumed, beside those that never matter: they change what is written, not what is
learned."""
LENGTH = frozenset({"train.max_steps", "train.epochs"})
"""Keys that may differ where the schedule does not depend on them (`can_be_extended`)."""

logger = logging.getLogger(__name__)


def check_start(recipe: TrainRecipe, resume: bool) -> None:
    """Refuse what can be refused without a model.  Changes nothing.

    Raises ConfigError when a run, or something else, lies in `output_dir` and `resume` is not asked for, or no run when
    it is; CheckpointError when the run in there used another recipe or other annotation files, or is damaged.
    """
    folder = recipe.output_dir
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output_dir {folder} is a file; choose another --output_dir")
    if not resume:
        if holds_run(folder):
            raise ConfigError(
                f"output_dir {folder} already holds a run; continue it with --resume, or choose another --output_dir"
            )
        refuse_strange_files(folder, WORK)
        return
    if not holds_run(folder):
        raise ConfigError(
            f"output_dir {folder} holds no run to continue; leave out --resume to start one, or correct --output_dir"
        )
    newest = newest_checkpoint(folder)
    if not (folder / RECIPE).exists():
        if newest or (folder / METRICS).exists() or (folder / FINAL).exists():
            raise CheckpointError(
                f"{folder / RECIPE} is gone, so nobody knows how the run in {folder} was started; restore it, or start "
                "a new run with another --output_dir"
            )
        return  # killed before its first step, or in the cold start
    _check_recipe(recipe, newest)
    for name in JOURNALS:
        journal.steps(folder / name)
    if newest is None and not (folder / FINAL).exists():
        _refuse_lost_checkpoints(folder)
    if not (folder / FINAL).exists():  # a finished run reads no rows any more, unless it is extended
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

    `files` are some or all of those in inputs.json.  A new run has nothing to compare with.
    """
    if not (folder / RECIPE).exists():
        return
    names = {name: f"{name} ({file})" for name, file in files.items()}
    saved = read_json(folder / INPUTS, "restore it, or start a new run with another --output_dir")
    then = {names[name]: digest for name, digest in saved.items() if name in names}
    now = {names[name]: digest for name, digest in fingerprints(_present(files)).items()}
    if changed := changed_inputs(then, now):
        raise CheckpointError(
            f"the run in {folder} was started with other files:\n  "
            + "\n  ".join(changed)
            + "\nA resumed run continues exactly, so these must be what they were; restore them, or start a new run "
            "with another --output_dir"
        )


def can_be_extended(recipe: TrainRecipe) -> bool:
    """Whether the learning rates are the same however many steps follow."""
    return recipe.train.schedule == "constant" and recipe.train.warmup_ratio == 0


def open_folder(recipe: TrainRecipe, inputs: Mapping[str, Path]) -> int:
    """Make the folder ready and return the step to continue after (0 for a new run).

    `inputs` are the files that decide what is learned, by names for messages.  Writes recipe.json and, in a new folder,
    inputs.json; drops journal lines of steps after the newest checkpoint and removes what an interrupted save left
    behind.  Warns of steps that metrics.jsonl lacks: what the run learns does not depend on them.
    """
    folder = recipe.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    newest = newest_checkpoint(folder)
    step = step_of(newest) if newest else 0
    for name in JOURNALS:
        journal.cut_after(folder / name, step)
    if lost := sorted(set(range(1, step + 1)) - set(journal.steps(folder / METRICS))):
        logger.warning(
            "%s lacks %d of the %d steps that were taken (the first is step %d); they stay missing, the run goes on",
            *(folder / METRICS, len(lost), step, lost[0]),
        )
    start_folder(folder, recipe, fingerprints(_present(inputs)))
    return step


def read_trained(recipe: TrainRecipe, step: int) -> Trained:
    """What the run folder says of the model after `step`, for its card.  Raises CheckpointError for a damaged line of
    metrics.jsonl, DataError for a damaged inputs.json."""
    folder = recipe.output_dir
    advice = "restore it, or start a new run with another --output_dir"
    inputs = read_json(folder / INPUTS, advice) if (folder / INPUTS).exists() else {}
    return Trained(recipe, step, journal.lines(folder / METRICS, step), inputs)


def holds_run(folder: Path) -> bool:
    names = (RECIPE, METRICS, FINAL, COLD_START)
    return any((folder / name).exists() for name in names) or bool(_checkpoint_folders(folder))


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first.

    They are renamed into their place when they are complete, so one without a training state was damaged later: raises
    CheckpointError rather than do its steps again without a word.
    """
    found = _checkpoint_folders(folder)
    for checkpoint in found:
        if not (checkpoint / STATE).exists():
            others = [step_of(path) for path in found if path != checkpoint and step_of(path) < step_of(checkpoint)]
            way = "start a new run with another --output_dir"
            if others:
                way = f"remove {checkpoint} and resume again: the run then continues from step {others[-1]}"
            raise CheckpointError(
                f"{checkpoint / STATE} is gone, so the run cannot continue from there; restore it, or {way}"
            )
    return found


def newest_checkpoint(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """
    >>> step_of(Path("runs/a/checkpoint-200"))
    200
    """
    return int(checkpoint.name.rpartition("-")[2])


def remove(folder: Path) -> None:
    """Rename first: a half-deleted folder must not look like a whole one."""
    doomed = folder.with_name(f".{folder.name}.old.tmp")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _checkpoint_folders(folder: Path) -> list[Path]:
    return numbered(folder, "checkpoint")


def numbered(folder: Path, name: str) -> list[Path]:
    """<name>-<step>/ of a run, by step."""
    found = (path for path in folder.glob(f"{name}-*") if re.fullmatch(rf"{name}-\d+", path.name))
    return sorted(found, key=step_of)


def _refuse_lost_checkpoints(folder: Path) -> None:
    """Raise CheckpointError when a run without a checkpoint has come further than to the saving of its first one."""
    advice = "restore them, or start a new run with another --output_dir"
    saved = read_json(folder / RECIPE, advice).get("train")
    every = saved.get("save_every") if isinstance(saved, dict) else None
    taken = max(journal.steps(folder / METRICS), default=0)
    if not isinstance(every, int) or taken > every:
        raise CheckpointError(
            f"{folder} holds no checkpoint, although {taken} steps were taken and one was saved every {every}: "
            f"there is nothing to resume from; {advice}"
        )


def _check_recipe(recipe: TrainRecipe, newest: Path | None) -> None:
    """Raise CheckpointError naming every key that differs from the saved recipe, apart from those that may."""
    file = recipe.output_dir / RECIPE
    saved = read_json(file, "restore it, or start a new run with another --output_dir")
    lines = differences(saved, recipe, MAY_CHANGE | LENGTH)
    lengths = [line for line in differences(saved, recipe, MAY_CHANGE) if line not in lines]
    if lengths and not can_be_extended(recipe):
        train = recipe.train
        warm = f" and train.warmup_ratio {train.warmup_ratio:g}" if train.warmup_ratio else ""
        lines += [
            f'{line} (with train.schedule "{train.schedule}"{warm} every learning rate depends on the number of steps; '
            "only a constant schedule without warm-up can be extended)"
            for line in lengths
        ]
    elif lengths and newest is None and (recipe.output_dir / FINAL).exists():
        lines += [f"{line} (there is no checkpoint left to go on from)" for line in lengths]
    if lines:
        raise CheckpointError(
            f"the run in {recipe.output_dir} used another recipe ({file}):\n  "
            + "\n  ".join(lines)
            + "\nA resumed run continues exactly, so these must agree; set them back, or start a new run with another "
            "--output_dir"
        )


def _present(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if file.is_file()}
