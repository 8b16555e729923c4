"""Reading recipes: TOML files into frozen pydantic models.

A recipe is a tree of sections; every stage receives only its own section.  `load_recipe` reads the file, applies
`--section.key value` overrides and refuses unknown keys with a suggestion.  `write_resolved` saves what was really used
beside the run.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sbr.config.explain import explain, verb, what
from sbr.config.section import Section
from sbr.config.words import with_algorithm, with_words
from sbr.errors import ConfigError, DataError
from sbr.files import read_file, replace_file

RecipeT = TypeVar("RecipeT", bound=Section)

LARGEST = 2**20
"""Bytes of a recipe."""


def load_recipe(kind: type[RecipeT], file: Path, overrides: Sequence[str] = ()) -> RecipeT:
    """Read `file` as a `kind`; `overrides` are command-line words such as ["--train.seed", "3"], which win.

    "recipes/mini/grpo.toml" is the package's own where no such file is there.

    Raises ConfigError with the file, the key, what is allowed and, for an unknown key, the nearest known one.  Words
    that cannot be read end the program through tyro's own message (exit status 2); "--help" lists every key with its
    default.
    """
    file = file if os.path.exists(file) else packaged(file) or file  # noqa: PTH110  Path.exists raises for long names
    text = _read(file, "TOML", what(kind))
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError) as error:  # ValueError: dates and numbers that there are none of
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid TOML: lists or tables are too deep in each other") from None
    recipe = validate(kind, values, source=str(file))
    return override(recipe, overrides, prog=f"{verb(kind)} {file}") if overrides else recipe


def packaged(recipe: Path) -> Path | None:
    """The package's recipe of that name, such as recipes/mini/grpo.toml; None if it has none."""
    file = Path(str(files("sbr"))) / recipe
    return file if recipe.parts[:1] == ("recipes",) and ".." not in recipe.parts and file.is_file() else None


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


def with_values(recipe: RecipeT, values: Mapping[str, Any], source: str) -> RecipeT:
    """`recipe` with other values, under dotted keys ("train.seed") or in tables; they mean what words on the command
    line do.  Raises ConfigError as `load_recipe` does, naming `source`.
    """
    dotted = list(dotted_values(values))
    names = [value for key, value in dotted if key == "algo.name" and isinstance(value, str)]
    try:
        tree = (with_algorithm(recipe, names[-1]) if names else recipe).model_dump(warnings=False)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(type(recipe), error)}") from None
    for key, value in dotted:
        *sections, last = key.split(".")
        section = tree
        for depth, name in enumerate(sections, start=1):
            if section.get(name) is None:
                section[name] = {}  # a section that is switched on, or one that nobody knows
            section = section[name]
            if not isinstance(section, dict):
                raise ConfigError(f"{source}: {key} cannot be set: {'.'.join(sections[:depth])} is no section")
        section[last] = value
    return validate(type(recipe), tree, source)


def dotted_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("train.seed", 3) for {"train": {"seed": 3}} and for {"train.seed": 3}."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted_values(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def write_resolved(recipe: Section, file: Path) -> None:
    """Write the recipe as used, defaults included, as JSON; `read_resolved` reads it."""
    replace_file(file, (recipe.model_dump_json(indent=2) + "\n").encode())


def read_resolved(kind: type[RecipeT], file: Path) -> RecipeT:
    """Read what `write_resolved` wrote; raises ConfigError when it is something else."""
    try:
        values = json.loads(_read(file, "JSON", what(kind)))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not a recipe as a run writes it: {error}; restore it, or start a new run") from None
    return validate(kind, values, source=str(file))


def _read(file: Path, language: str, kind: str) -> str:
    """The text of an ordinary file of at most `LARGEST` bytes; raises ConfigError."""
    try:
        return read_file(file, LARGEST, f"give a {kind}; those of the project lie in recipes/").decode("utf-8-sig")
    except DataError as error:
        raise ConfigError(f"{kind} {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not valid {language}: it is no UTF-8 text (byte {error.start})") from None
