"""Reading recipes: TOML files into frozen pydantic models.

A recipe is a tree of sections; every stage receives only its own section.  `load_recipe` reads the file, applies
`--section.key value` overrides and refuses unknown keys with a suggestion.  `write_resolved` saves what was really used
beside the run.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sbr.config.explain import explain, verb
from sbr.config.section import Section
from sbr.config.words import with_words
from sbr.errors import ConfigError, DataError
from sbr.files import read_file, replace_file

RecipeT = TypeVar("RecipeT", bound=Section)

LARGEST = 2**20
"""Bytes of a recipe."""


def load_recipe(kind: type[RecipeT], file: Path, overrides: Sequence[str] = ()) -> RecipeT:
    """Read `file` as a `kind`; `overrides` are command-line words such as ["--train.seed", "3"], which win.

    Raises ConfigError with the file, the key, what is allowed and, for an unknown key, the nearest known one.  Words
    that cannot be read end the program through tyro's own message (exit status 2); "--help" lists every key with its
    default.
    """
    text = _read(file, "TOML")
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError) as error:  # ValueError: dates and numbers that there are none of
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: lists or tables are too deep in each other") from None
    recipe = validate(kind, values, source=str(file))
    return override(recipe, overrides, prog=f"{verb(kind)} {file}") if overrides else recipe


def validate(kind: type[RecipeT], values: Mapping[str, Any], source: str) -> RecipeT:
    """Check a tree of plain values against `kind`; raises ConfigError naming `source` and every wrong key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(kind, error)}") from None


def override(recipe: RecipeT, words: Sequence[str], prog: str) -> RecipeT:
    """Apply command-line words to a valid recipe; raises what `load_recipe` does."""
    try:
        values = with_words(recipe, words, prog)
    except ValidationError as error:
        raise ConfigError(f"{prog}: {explain(type(recipe), error)}") from None
    return validate(type(recipe), values, source=prog)


def write_resolved(recipe: Section, file: Path) -> None:
    """Write the recipe as used, defaults included, as JSON; `read_resolved` reads it."""
    replace_file(file, (recipe.model_dump_json(indent=2) + "\n").encode())


def read_resolved(kind: type[RecipeT], file: Path) -> RecipeT:
    """Read what `write_resolved` wrote; raises ConfigError when it is something else."""
    try:
        values = json.loads(_read(file, "JSON"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not a recipe as a run writes it: {error}; restore it, or start a new run") from None
    return validate(kind, values, source=str(file))


def _read(file: Path, language: str) -> str:
    """The text of an ordinary file of at most `LARGEST` bytes; raises ConfigError."""
    try:
        return read_file(file, LARGEST, "give a recipe; those of the project lie in recipes/").decode("utf-8-sig")
    except DataError as error:
        raise ConfigError(f"recipe {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not valid {language}: it is no UTF-8 text (byte {error.start})") from None
