"""Reading recipes: TOML files into frozen pydantic models.

A recipe is a tree of sections; every stage receives only its own section.  `load_recipe` reads the file, applies
`--section.key value` overrides (parsed by tyro from the same models) and refuses unknown keys with a suggestion.
`write_resolved` saves what was really used beside the run.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

import tyro
from pydantic import ValidationError

from sbr.config.algo import ALGO_DEFAULTS, AlgoConfig
from sbr.config.section import Section
from sbr.errors import ConfigError

RecipeT = TypeVar("RecipeT", bound=Section)


def load_recipe(kind: type[RecipeT], file: Path, overrides: Sequence[str] = ()) -> RecipeT:
    """Read `file` as a `kind`; `overrides` are command-line words such as ["--train.seed", "3"], which win.

    Raises ConfigError with the file, the key, what is allowed and, for an unknown key, the nearest known one.  Wrong
    overrides end the program through tyro's own message (exit status 2); "--help" lists every key with its default.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"recipe {file} does not exist; recipes that ship with the project lie in recipes/") from None
    except IsADirectoryError:
        raise ConfigError(f"recipe {file} is a folder; give the .toml file itself") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    recipe = validate(kind, values, source=str(file))
    return override(recipe, overrides, prog=f"{verb(kind)} {file}") if overrides else recipe


def validate(kind: type[RecipeT], values: Mapping[str, Any], source: str) -> RecipeT:
    """Check a tree of plain values against `kind`; raises ConfigError naming `source` and every wrong key."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, problem) for problem in error.errors()]
        raise ConfigError(f"{source}: " + "\n  ".join(lines)) from None


def override(recipe: RecipeT, words: Sequence[str], prog: str) -> RecipeT:
    """Apply command-line words to a valid recipe.  A word of an optional section (--lora.rank 8) switches it on."""
    config = (tyro.conf.AvoidSubcommands,)  # an optional section is no choice between commands
    try:
        default = _with_algorithm(_with_sections(recipe, words), words)
        return tyro.cli(
            type(recipe), default=default, args=list(words), prog=prog, description=recipe.__doc__, config=config
        )
    except ValidationError as error:
        lines = [_explain(type(recipe), problem) for problem in error.errors()]
        raise ConfigError(f"{prog}: " + "\n  ".join(lines)) from None


def write_resolved(recipe: Section, file: Path) -> None:
    """Write the recipe as used, defaults included, as JSON; `read_resolved` reads it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(file)


def read_resolved(kind: type[RecipeT], file: Path) -> RecipeT:
    return validate(kind, json.loads(file.read_text(encoding="utf-8")), source=str(file))


def with_defaults(kind: type[Section], saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A resolved recipe as an earlier version wrote it, with the defaults of keys that are new since then.

    What is no valid recipe any more is returned as it is; a comparison then names the keys.
    """
    try:
        return kind.model_validate(saved).model_dump(mode="json")
    except ValidationError:
        return saved


def known_keys(kind: type[Section], prefix: str = "") -> list[str]:
    """All dotted keys of a recipe, sections included, e.g. "train", "train.learning_rate"."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        if section := _section(field.annotation):
            keys += known_keys(section, f"{prefix}{name}.")
    return keys


def verb(kind: type[Section]) -> str:
    """The command a recipe belongs to, e.g. "sbr mini pretrain": its docstring is "`sbr mini pretrain RECIPE`"."""
    return (kind.__doc__ or "").strip().strip("`").removesuffix(" RECIPE")


def _with_sections(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the defaults of every absent section that `words` name; --help shows them all."""
    named = {
        name: section()
        for name, field in type(recipe).model_fields.items()
        if getattr(recipe, name) is None and (section := _section(field.annotation))
        if any(word.startswith(f"--{name}.") or word in ("-h", "--help") for word in words)
    }
    return recipe.model_copy(update=named)


def _with_algorithm(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the algorithm that `words` name.  Its keys start from its own defaults: those in the recipe were
    chosen for the recipe's algorithm, and a clip range of GRPO would be wrong for GSPO."""
    algo = getattr(recipe, "algo", None)
    joined = " ".join(words).replace("--algo.name=", "--algo.name ").split()
    names = [name for word, name in pairwise(joined) if word == "--algo.name"]
    if not isinstance(algo, AlgoConfig) or not names or names[-1] == algo.name or names[-1] not in ALGO_DEFAULTS:
        return recipe
    fresh = AlgoConfig(name=names[-1], updates_per_rollout=algo.updates_per_rollout)
    return recipe.model_copy(update={"algo": fresh})


def _section(annotation: Any) -> type[Section] | None:
    """The section class in a field's type: `DataConfig`, or `LoraConfig | None`."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Section)), None)


def _explain(kind: type[Section], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known_keys(kind), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r}{hint} (`{verb(kind)} RECIPE --help` lists all keys)"
    if problem["type"] == "missing":
        return f"{key} is missing; set it in the recipe"
    if problem["type"] == "value_error":  # of a section as a whole
        return f"{key}.{problem['ctx']['error']}"
    return f"{key} is {problem['input']!r}: {problem['msg']}"
