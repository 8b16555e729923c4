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

from sbr.config.algo import ALGORITHMS, AlgoSection, FamilySection, OwnAlgo
from sbr.config.recipes import GrpoRecipe
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
        for section in _sections(field.annotation):
            keys += known_keys(section, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def verb(kind: type[Section]) -> str:
    """The command a recipe belongs to, e.g. "sbr mini pretrain": its docstring is "`sbr mini pretrain RECIPE`"."""
    return (kind.__doc__ or "").strip().strip("`").removesuffix(" RECIPE")


def _with_sections(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the defaults of every absent section that `words` name; --help shows them all."""
    named = {
        name: sections[0]()
        for name, field in type(recipe).model_fields.items()
        if getattr(recipe, name) is None and (sections := _sections(field.annotation))
        if any(word.startswith(f"--{name}.") or word in ("-h", "--help") for word in words)
    }
    return recipe.model_copy(update=named)


def _with_algorithm(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the algorithm that `words` name.  Its keys start from its own defaults: those in the recipe were
    chosen for the recipe's algorithm, and a clip range of GRPO would be wrong for GSPO.  What all have stays.
    """
    if not isinstance(recipe, GrpoRecipe):
        return recipe
    algo, name = recipe.algo, recipe.algo.name
    joined = [part for word in words for part in word.split("=", 1)]
    names = [value for word, value in pairwise(joined) if word == "--algo.name"]
    if names and names[-1] != name:
        name = names[-1]
        values: dict[str, Any] = {"name": name}
        for shared in (AlgoSection, FamilySection):
            if isinstance(algo, shared) and issubclass(ALGORITHMS.get(name, OwnAlgo), shared):
                values |= {key: getattr(algo, key) for key in shared.model_fields}
        recipe = type(recipe).model_validate({**recipe.model_dump(), "algo": values})
    for word in joined:
        if word.startswith("--algo."):
            key = word.removeprefix("--algo.").replace("-", "_")
            if problem := _of_other_algorithms(key, name):
                raise ConfigError(problem)
    return recipe


def _of_other_algorithms(key: str, name: str) -> str | None:
    """What to say of a key that `name` does not use and others do."""
    used = ALGORITHMS.get(name, OwnAlgo).model_fields
    users = [other for other, section in ALGORITHMS.items() if key in section.model_fields]
    if key in used or not users:
        return None
    advice = "remove it, or change algo.name"
    if name not in ALGORITHMS:
        name, advice = "an algorithm of your own", "put what that needs into [algo.options]"
    return f"algo.{key} is not used by {name} but by {', '.join(users)}; {advice}"


def _sections(annotation: Any) -> list[type[Section]]:
    """The section classes in a field's type: `DataConfig`, `LoraConfig | None`, or those of a union by name."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Section) else []
    return [section for part in get_args(annotation) for section in _sections(part)]


def _explain(kind: type[Section], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    # Pydantic names the class of the union too.
    algorithm = path.pop(1) if path[0] == "algo" and len(path) > 2 else None
    key = ".".join(path)
    match problem["type"]:
        case "extra_forbidden":
            if algorithm and (other := _of_other_algorithms(path[1], algorithm)):
                return other
            near = difflib.get_close_matches(key, known_keys(kind), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"unknown key {key!r}{hint} (`{verb(kind)} RECIPE --help` lists all keys)"
        case "missing":
            return f"{key} is missing; set it in the recipe"
        case "value_error":  # of a section as a whole
            return f"{key}.{problem['ctx']['error']}"
        case "union_tag_invalid":
            name = problem["input"]["name"]
            near = difflib.get_close_matches(str(name), ALGORITHMS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f'algo.name is {name!r}, expected {", ".join(ALGORITHMS)} or "module:function" of your own{hint}'
        case "union_tag_not_found":
            return f"{key} is {problem['input']!r}, expected a section with a name"
        case _:
            return f"{key} is {problem['input']!r}: {problem['msg']}"
