"""What can be refused at once: importing torch and transformers takes seconds, and nobody should wait for a typo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbr.config.recipes import AskingRecipe, EvalRecipe, SftRecipe, TrainRecipe

if TYPE_CHECKING:
    from sbr.study.recipes import Study


def refuse_study(study: Study) -> None:
    """`refuse_early` of all runs of a study, but for models and rows that it has yet to make."""
    seen: set[tuple[str, str, str]] = set()
    for job in study.graph.jobs.values():
        if (kind := (job.base, job.stage, job.verb)) not in seen:
            seen.add(kind)
            refuse_early(study.recipe(job), model=job.model is None, rows=job.rows is None)


def refuse_early(recipe: TrainRecipe | AskingRecipe, model: bool = True, rows: bool = True) -> None:
    """Raise, as the slow part would, when an annotation file that `recipe` names is not there, or the model (if `model`
    is to be looked at), or the rows that SFT learns (if `rows`)."""
    from sbr.data.rows.layout import DataRoot
    from sbr.data.sources.cot import cot_path
    from sbr.data.sources.select import SOURCES, choose_levels, load_questions, load_training, training_path
    from sbr.model.paths import resolve_model_path
    from sbr.rollout.open import engine_kind

    data = recipe.data
    if isinstance(recipe, EvalRecipe):
        for level in choose_levels(data, recipe.eval.levels):
            if not all((data.root / file).is_file() for file in SOURCES[data.source].levels[level]):
                load_questions(data, level, 1)  # its reader says what is missing
    elif isinstance(recipe, SftRecipe):
        if rows:
            cot_path(DataRoot(data.root), data.cot_file)
    elif not training_path(data).is_file():
        load_training(data)
    if model and (not isinstance(recipe, AskingRecipe) or engine_kind(recipe.engine).local):
        resolve_model_path(recipe.model.path)
