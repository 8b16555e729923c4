"""What is there of a job: the note that a study keeps of it, and the folder of its run.

    output_dir/.study/mini/sft/seed_0/note.json     how far the job is, and what it was made from
    output_dir/.study/mini/sft/seed_0/.lock         held by the process that runs it

The folder of a run is that of its verb and holds nothing of the study.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from sbr.config.recipes import DistillRecipe, EvalRecipe
from sbr.distill import folder as distill_folder
from sbr.distill.report import REPORT
from sbr.distill.rows import COT_FILE
from sbr.errors import CheckpointError, ConfigError, DataError
from sbr.eval import folder as eval_folder
from sbr.eval.records import SUMMARY
from sbr.files import read_file, replace_file
from sbr.model.paths import resolve_model_path
from sbr.resume.folder import (
    MOST_BYTES,
    NO_MATTER,
    changed_inputs,
    check_folder,
    fingerprint,
    fingerprints,
    flat,
    weight_files,
)
from sbr.resume.lock import is_held
from sbr.study.graph import StudyJob
from sbr.study.recipes import Recipe, Study
from sbr.train import run_folder

NOTES = ".study"
NOTE = "note.json"

State = Literal["finished", "running", "begun", "failed", "missing"]
"""begun: interrupted, or a run that was started by hand; the study continues it.  failed: it is tried again."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a study knows of a job; the keys on disk are these field names."""

    state: Literal["begun", "finished", "failed"]
    recipe: str
    """Fingerprint of the recipe."""
    inputs: dict[str, str]
    """What the run was made from -> its fingerprint: the base's weights, the journal of the training before it, the
    rows of a distillation."""
    error: str = ""


def note_folder(study: Study, job: str) -> Path:
    return study.config.output_dir / NOTES / job


def read_note(study: Study, job: str) -> Note | None:
    """None without one.  Raises DataError for a damaged one."""
    file = note_folder(study, job) / NOTE
    if not file.exists():
        return None
    advice = "remove this file: the study then looks at the folder of the run again"
    try:
        return TypeAdapter(Note).validate_json(read_file(file, MOST_BYTES, advice))
    except ValidationError as error:
        raise DataError(f"{file} is damaged ({error.errors()[0]['msg']}); {advice}") from None


def write_note(study: Study, job: str, note: Note) -> None:
    replace_file(note_folder(study, job) / NOTE, (json.dumps(asdict(note), indent=2) + "\n").encode())


def recipe_fingerprint(recipe: Recipe) -> str:
    """Of all that may touch a result."""
    values = {key: value for key, value in flat(recipe.model_dump(mode="json")).items() if key not in NO_MATTER}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def base_fingerprints(study: Study) -> dict[str, str]:
    """Base -> fingerprint of its weights and configuration; "" for one that is not on this disk.

    Raises CheckpointError for a base that does not exist.
    """
    found: dict[str, str] = {}
    for name, path in study.config.bases.items():
        files = {file.name: file for file in weight_files(Path(resolve_model_path(path)))}
        found[name] = hashlib.sha256(json.dumps(fingerprints(files)).encode()).hexdigest() if files else ""
    return found


def inputs_of(study: Study, job: StudyJob, bases: Mapping[str, str]) -> dict[str, str]:
    """`Note.inputs` as they are now; what is not there yet, or no more, is left out."""
    files = {f"the rows of {job.rows}": study.folder(job.rows) / COT_FILE} if job.rows is not None else {}
    if job.model is not None:
        files[f"the training {job.model}"] = study.folder(job.model) / run_folder.METRICS
    found = {name: fingerprint(file) for name, file in files.items() if file.is_file()}
    return found if job.model is not None else {f"the base {job.base}": bases[job.base], **found}


def state_of(study: Study, job: StudyJob) -> State:
    """As it is at this moment; other processes may be working."""
    return "running" if is_held(note_folder(study, job.name)) else state_at_rest(study, job)


def state_at_rest(study: Study, job: StudyJob) -> State:
    """Of a job that no other process holds."""
    note = read_note(study, job.name)
    if note is not None and note.state == "failed":
        return "failed"
    recipe = study.recipe(job)
    if note is not None and note.state == "finished" and _result(recipe).exists():
        return "finished" if note.recipe == recipe_fingerprint(recipe) else "begun"
    folder = recipe.output_dir
    return "begun" if folder.exists() and (any(folder.iterdir()) or note is not None) else "missing"


def check_job(study: Study, job: StudyJob, bases: Mapping[str, str]) -> None:
    """Refuse to continue what lies in the folder of a job, if its verb would, or if what it was made from has changed.

    Raises ConfigError, CheckpointError or DataError that names the job.
    """
    recipe = study.recipe(job)
    folder = recipe.output_dir
    where = f"{study.file}: {job.name}"
    try:
        if isinstance(recipe, DistillRecipe):
            check_folder(folder, recipe, None, distill_folder.WORK)
        elif isinstance(recipe, EvalRecipe):
            check_folder(folder, recipe, None, eval_folder.WORK)
        elif folder.exists():
            run_folder.check_start(recipe, run_folder.holds_run(folder))
    except (ConfigError, DataError, CheckpointError) as error:
        raise type(error)(f"{where}: {error}") from None
    note = read_note(study, job.name)
    if note is None or not folder.exists():
        return
    now = inputs_of(study, job, bases)
    then = {name: digest for name, digest in note.inputs.items() if name in now}
    if changed := changed_inputs(then, {name: now[name] for name in then}):
        raise ConfigError(
            f"{where} was made from other files than those that are there now:\n  "
            + "\n  ".join(line.removeprefix("input file ") for line in changed)
            + f"\nrestore them, or remove {folder} to run it again"
        )


def _result(recipe: Recipe) -> Path:
    """What a finished run has written last."""
    if isinstance(recipe, DistillRecipe):
        return recipe.output_dir / REPORT
    return recipe.output_dir / (SUMMARY if isinstance(recipe, EvalRecipe) else run_folder.FINAL)
