"""The recipe of every job of a study: that of its stage, with what the study sets, its model, rows, seed and folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sbr.config.load import dotted_values, load_recipe, packaged, with_values
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.study import StudyConfig
from sbr.distill.rows import COT_FILE
from sbr.errors import ConfigError
from sbr.eval.folder import with_levels
from sbr.study.graph import EVAL, Graph, StudyJob, graph_of
from sbr.train.run_folder import FINAL

Recipe: TypeAlias = DistillRecipe | SftRecipe | GrpoRecipe | EvalRecipe

KINDS: dict[str, type[Recipe]] = {"distill": DistillRecipe, "sft": SftRecipe, "grpo": GrpoRecipe, EVAL: EvalRecipe}


@dataclass(frozen=True, eq=False)
class Study:
    """A study file that has been read, with the recipes of its stages."""

    file: Path
    config: StudyConfig
    graph: Graph
    recipes: Mapping[str, Recipe]
    """Of every stage that is used, and of `EVAL`, with what the study sets."""

    def folder(self, job: str) -> Path:
        """Where the run of a job lies."""
        return self.config.output_dir / job

    def recipe(self, job: StudyJob) -> Recipe:
        """What its run is started with."""
        stage = EVAL if job.verb == EVAL else job.stage
        recipe = with_values(self.recipes[stage], dict(self._own(job)), f"{self.file}: {job.name}")
        return with_levels(recipe) if isinstance(recipe, EvalRecipe) else recipe

    def _own(self, job: StudyJob) -> Iterator[tuple[str, Any]]:
        """What differs between the jobs of a stage."""
        yield "output_dir", str(self.folder(job.name))
        model = self.config.bases[job.base] if job.model is None else str(self.folder(job.model) / FINAL)
        yield "model.path", model
        if job.rows is not None:
            yield "data.cot_file", str(self.folder(job.rows) / COT_FILE)
        if job.verb != EVAL and job.seed is not None:
            for key in _seed_keys(self.recipes[job.stage]):
                yield key, job.seed


def read_study(file: Path) -> Study:
    """Read a study file and all its recipes.  Raises ConfigError for whatever is wrong with one of them."""
    config = load_recipe(StudyConfig, file)
    graph = graph_of(config, str(file))
    recipes: dict[str, Recipe] = {}
    for name, stage in config.stages.items():
        if name in graph.unused:
            continue
        recipe = _load(file, f"stages.{name}", KINDS[stage.run], stage.recipe, config.set, stage.set)
        owned = ["output_dir", "model.path"]
        if stage.rows is not None:
            owned.append("data.cot_file")
            if isinstance(recipe, GrpoRecipe) and recipe.cold_start is None:
                raise ConfigError(
                    f"{file}: stages.{name}.rows is {stage.rows}, and {stage.recipe} has no [cold_start] that would "
                    "learn them; remove the key, or let a stage of run sft learn them"
                )
        if stage.seeds == "each":
            owned += _seed_keys(recipe)
        _refuse_owned(f"{file}: stages.{name}", owned, config.set, stage.set)
        recipes[name] = recipe
    recipes[EVAL] = _load(file, EVAL, EvalRecipe, config.eval.recipe, config.set, config.eval.set)
    _refuse_owned(f"{file}: eval", ["output_dir", "model.path"], config.set, config.eval.set)
    return Study(file, config, graph, recipes)


def _load(
    study: Path, where: str, kind: type[Recipe], recipe: Path, for_all: Mapping[str, Any], own: Mapping[str, Any]
) -> Recipe:
    """The recipe of a stage with what the study sets for all, then for this stage."""
    found = load_recipe(kind, _find(study, where, recipe))
    found = with_values(found, for_all, f"{study}: set, for {where} ({recipe})")
    return with_values(found, own, f"{study}: {where}.set ({recipe})")


def _find(study: Path, where: str, recipe: Path) -> Path:
    """A recipe beside the study, or one of the package."""
    beside = study.parent / recipe.expanduser()
    if os.path.exists(beside):  # noqa: PTH110  Path.exists raises for long names
        return beside
    if (found := packaged(recipe)) is not None:
        return found
    raise ConfigError(
        f"{study}: {where}.recipe is {str(recipe)!r}, and there is no {beside}; give the path from the folder of the "
        "study file, or one of the package, such as recipes/mini/grpo.toml"
    )


def _refuse_owned(where: str, owned: Sequence[str], *tables: Mapping[str, Any]) -> None:
    """Raise ConfigError for a key whose value the study chooses itself."""
    found = {key for table in tables for key, _ in dotted_values(table)}
    if wrong := [key for key in owned if key in found]:
        raise ConfigError(
            f"{where}: {', '.join(wrong)} cannot be set, the study chooses it: folders from output_dir, models from "
            "bases and model, rows from rows, seeds from seeds"
        )


def _seed_keys(recipe: Recipe) -> list[str]:
    """The keys that differ between the seeds of a study."""
    if isinstance(recipe, DistillRecipe):
        return ["distill.seed"]
    if isinstance(recipe, GrpoRecipe) and recipe.cold_start is not None:
        return ["train.seed", "cold_start.train.seed"]
    return ["train.seed"]
