"""Settings of `sbr analyze consistency`, saved as RUN/consistency/recipe.json."""

from __future__ import annotations

from sbr.config.asking import EngineConfig
from sbr.config.section import Count, NewTokens, Section, Text


class JudgeConfig(Section):
    """A language model that reads what a reasoning concludes."""

    model: Text
    """Its name at the server."""
    engine: EngineConfig
    """The server, or several with the same model; kind is endpoint."""
    max_new_tokens: NewTokens = 1024
    """Longest reply, thoughts of the judge included."""


class ConsistencyRecipe(Section):
    """`sbr analyze consistency RECIPE`"""

    per_level: Count | None = None
    """Look at so many questions of each level (None: all)."""
    judge: JudgeConfig | None = None
    """Who judges (None: nobody)."""
