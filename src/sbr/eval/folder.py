"""What the folder of an evaluation belongs to.  Imports nothing heavy."""

from __future__ import annotations

from sbr.config.recipes import EvalRecipe
from sbr.data.sources.select import choose_levels
from sbr.resume.folder import Work

WORK = Work("an evaluation", "--out")


def with_levels(recipe: EvalRecipe) -> EvalRecipe:
    """The recipe as it is kept: with the names of its levels.  Raises ConfigError for one that its source has not."""
    levels = choose_levels(recipe.data, recipe.eval.levels)
    return recipe.model_copy(update={"eval": recipe.eval.model_copy(update={"levels": levels})})
