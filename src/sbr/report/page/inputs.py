"""Folders that a person names -> the runs of the page: evaluations, their controls, and training runs.

A folder with `eval` in its recipe is an evaluation: one that takes something away from the question or rotates its
options is a control of the ordinary evaluation of the same model.  A folder with `train` in its recipe is a training
run.  Any other folder stands for the evaluations and training runs in it; that of a study for all of its runs, of which
one seed an arm is shown (`study_inputs`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sbr.analysis.evaluated import EvaluatedRun, read_evaluated, training_run_of
from sbr.analysis.study_runs import STUDY_JSON
from sbr.analysis.training_metrics import TrainingMetrics, read_metrics, with_cold_starts
from sbr.errors import ConfigError
from sbr.resume.folder import RECIPE, differences, read_json
from sbr.train.run_folder import COLD_START, METRICS

if TYPE_CHECKING:
    from sbr.report.page.study_inputs import PageStudy

Kind = Literal["evaluation", "training"]
_PREFIX = "eval_"


@dataclass(frozen=True, slots=True, eq=False)
class PageRuns:
    """Example: asked base, GRPO; controls {"GRPO": (blind,)}; trainings {"GRPO": ..., "grpo_1": ...}."""

    asked: tuple[EvaluatedRun, ...]
    """Ordinary evaluations of the same questions, the first is what the others are compared with."""
    controls: Mapping[str, tuple[EvaluatedRun, ...]]
    """Name in `asked` -> its controls; absent without any."""
    trainings: Mapping[str, TrainingMetrics]
    """Those of the models asked, by their names, then those that were given, by folder."""
    trained: Mapping[str, TrainingMetrics]
    """Name in `asked` -> the last training of its model, those that can be found."""
    study: PageStudy | None = None
    """What stands behind the runs, when they are one seed of every arm of a study."""


def find_runs(folders: Sequence[Path], names: Sequence[str] = (), data: Path | None = None) -> PageRuns:
    """Read all runs in `folders`; `names` call the ordinary evaluations, `data` is another place of their data.

    Raises ConfigError for a folder that holds no run, names that do not fit, and a control without its evaluation;
    DataError for an unfinished evaluation and as `read_evaluated` and `read_metrics` do.
    """
    if any((folder / STUDY_JSON).is_file() for folder in folders):
        return _of_study(folders, names, data)
    found = _expand(folders)
    evaluations = [folder for folder, kind in found.items() if kind == "evaluation"]
    if not evaluations:
        raise ConfigError(
            f"there is no evaluation in {', '.join(map(str, folders)) or 'no folder'}; a page needs one: name the "
            "folder that `sbr eval` wrote, or one that holds such folders"
        )
    read = _ordered(read_evaluated({str(folder): folder for folder in evaluations}), folders)
    if data is not None:
        read = [run.with_data(data) for run in read]
    ordinary, controls = [run for run in read if not _is_control(run)], [run for run in read if _is_control(run)]
    if not ordinary:
        raise ConfigError(
            f"{', '.join(run.name for run in controls)} took something away from the questions or rotated their "
            "options; give the ordinary evaluation of the same model too"
        )
    asked = tuple(replace(run, name=name) for run, name in zip(ordinary, _names(ordinary, names), strict=True))
    trainings, trained = _trainings(asked, [folder for folder, kind in found.items() if kind == "training"])
    return PageRuns(asked, _matched(asked, controls), trainings, trained)


def _of_study(folders: Sequence[Path], names: Sequence[str], data: Path | None) -> PageRuns:
    if len(folders) > 1:
        raise ConfigError(
            f"{', '.join(map(str, folders))}: the page of a study shows nothing else; name the folder of the study "
            "alone, or single evaluations of it"
        )
    if names:
        raise ConfigError("--names is for single evaluations; the arms of a study have their names")
    from sbr.report.page.study_inputs import read_page_study  # scipy: slower than a refusal

    found = read_page_study(folders[0], data)
    return PageRuns(found.asked, {}, found.trainings, found.trained, found)


def kind_of(folder: Path) -> Kind | None:
    """What its recipe.json says that `folder` holds; None for anything else.  DataError for a damaged recipe."""
    if not (folder / RECIPE).is_file():
        # A training that is still in its cold start has no recipe of its own yet.
        return "training" if (folder / COLD_START / METRICS).is_file() else None
    recipe = read_json(folder / RECIPE, "restore it, or leave this folder out")
    return "evaluation" if "eval" in recipe else "training" if "train" in recipe else None


def _expand(folders: Sequence[Path]) -> dict[Path, Kind]:
    """Every run once, in the order in which it was named."""
    found: dict[Path, Kind] = {}
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            state = "is no folder" if os.path.lexists(folder) else "does not exist"
            raise ConfigError(f"{folder} {state}; name folders that `sbr eval`, `sbr grpo` or `sbr sft` wrote")
        inside = [folder] if kind_of(folder) else sorted(path for path in folder.iterdir() if path.is_dir())
        kinds: dict[Path, Kind] = {path: kind for path in inside if (kind := kind_of(path)) is not None}
        if not kinds:
            raise ConfigError(f"{folder} holds neither an evaluation nor a training run, and no folder in it does")
        for path, kind in kinds.items():
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found[path] = kind
    return found


def _ordered(evaluations: Sequence[EvaluatedRun], named: Sequence[Path]) -> list[EvaluatedRun]:
    """As they were named; those found inside of one folder by what became of their model: nothing, SFT, GRPO, both."""
    places = {folder: place for place, folder in enumerate(named)}

    def key(run: EvaluatedRun) -> tuple[int, int, str]:
        if run.folder in places:
            return places[run.folder], 0, ""
        return places[run.folder.parent], _stages(run), run.folder.name

    return sorted(evaluations, key=key)


def _stages(run: EvaluatedRun) -> int:
    """0 for a model that no run of ours has trained, 1 SFT, 2 GRPO, 3 GRPO after a cold start."""
    if (training := training_run_of(run)) is None:
        return 0
    recipe = read_json(training / RECIPE, "restore it, or leave this folder out")
    if "algo" not in recipe:
        return 1
    return 2 if recipe.get("cold_start") is None else 3


def _is_control(run: EvaluatedRun) -> bool:
    return run.recipe.eval.control != "none" or run.recipe.eval.shuffle_options


def _names(asked: Sequence[EvaluatedRun], names: Sequence[str]) -> tuple[str, ...]:
    """As given, or those of the folders without "eval_" if all begin so; whole paths where folders have one name."""
    folders = ", ".join(str(run.folder) for run in asked)
    if names:
        if len(set(names)) != len(asked) or len(names) != len(asked):
            raise ConfigError(
                f"--names is {' '.join(names)}; give {len(asked)} different name(s), one for each of {folders}"
            )
        return tuple(names)
    found = [run.folder.resolve().name for run in asked]
    if all(name.startswith(_PREFIX) and name != _PREFIX for name in found):
        found = [name.removeprefix(_PREFIX) for name in found]
    return tuple(found) if len(set(found)) == len(found) else tuple(str(run.folder) for run in asked)


def _matched(asked: Sequence[EvaluatedRun], controls: Sequence[EvaluatedRun]) -> dict[str, tuple[EvaluatedRun, ...]]:
    """Each control at the evaluation of the same model; of several at the one whose recipe differs least."""
    found: dict[str, tuple[EvaluatedRun, ...]] = {}
    for control in controls:
        same = [run for run in asked if _model(run) == _model(control)]
        if not same:
            raise ConfigError(
                f"{control.folder} is a control of the model {control.recipe.model.path}, and none of the other runs "
                "is its ordinary evaluation; give that too, or leave this one out"
            )
        nearest = min(same, key=lambda run: len(differences(run.recipe.model_dump(mode="json"), control.recipe)))
        found[nearest.name] = (*found.get(nearest.name, ()), control)
    return found


def _model(run: EvaluatedRun) -> str:
    folder = Path(run.recipe.model.path).expanduser()
    return str(folder.resolve()) if folder.is_dir() else run.recipe.model.path


def _trainings(
    asked: Sequence[EvaluatedRun], given: Sequence[Path]
) -> tuple[dict[str, TrainingMetrics], dict[str, TrainingMetrics]]:
    """All trainings by name, each once, and those of the models asked.  A cold start is a training of its own."""
    own = {run.name: folder for run in asked if (folder := training_run_of(run)) is not None}
    names = {folder.resolve(): name for name, folder in reversed(own.items())}
    wanted = {name: own[name] for name in names.values() if (own[name] / METRICS).is_file()}
    wanted = {name: wanted[name] for name in own if name in wanted}  # in the order of the evaluations
    for folder in [*own.values(), *given]:
        name = names.get(folder.resolve(), _shown(folder, given))
        for part, place in with_cold_starts({name: folder}).items():
            if place.resolve() not in {path.resolve() for path in wanted.values()}:
                wanted[names.get(place.resolve(), part)] = place
    read = {name: read_metrics(folder) for name, folder in wanted.items()}
    trained = {name: read[names[folder.resolve()]] for name, folder in own.items() if names[folder.resolve()] in read}
    return read, trained


def _shown(folder: Path, others: Sequence[Path]) -> str:
    names = [other.resolve().name for other in others]
    name = folder.resolve().name
    return name if names.count(name) <= 1 else str(folder)
