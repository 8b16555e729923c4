"""Command-line words such as `--train.seed 3` on top of a recipe, parsed by tyro from the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import tyro
from pydantic.fields import FieldInfo
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from sbr.config.algo import ALGORITHMS, AlgoSection, FamilySection, OwnAlgo
from sbr.config.explain import known_keys, of_other_algorithms, sections_in
from sbr.config.recipes import GrpoRecipe
from sbr.config.section import Section
from sbr.errors import ConfigError

RecipeT = TypeVar("RecipeT", bound=Section)


def with_words(recipe: Section, words: Sequence[str], prog: str) -> dict[str, Any]:
    """The values of `recipe` with those of `words`, not yet checked.

    A word of an optional section (--lora.rank 8) switches it on.  Several values of a key are written with blanks,
    commas or as a list of TOML.

    Raises ConfigError for a key of another algorithm, ValidationError for an unknown algorithm; other words that cannot
    be read end the program through tyro's own message (exit status 2), as --help does.
    """
    listed = _split_lists(type(recipe), words)
    default = _with_algorithm(_with_sections(recipe, listed), listed)
    parsed: Any = tyro.cli(
        type(recipe),
        default=default,
        args=listed,
        prog=prog,
        description=recipe.__doc__,
        config=(tyro.conf.AvoidSubcommands,),  # an optional section is no choice between commands
        registry=_UNCHECKED,
    )
    return parsed.model_dump(warnings=False)


_UNCHECKED = ConstructorRegistry()


@_UNCHECKED.struct_rule
def _section(info: StructTypeInfo) -> StructConstructorSpec | None:
    """How tyro puts a section together: without checks, which speak of the whole recipe afterwards, in one language."""
    if not (isinstance(info.type, type) and issubclass(info.type, Section)):
        return None
    hints = get_type_hints(info.type, include_extras=True)
    fields = (
        StructFieldSpec(
            name, hints[name], default=_default(info.default, name, field), helptext=field.description or ""
        )
        for name, field in info.type.model_fields.items()
    )
    return StructConstructorSpec(info.type.model_construct, tuple(fields))


def _default(section: Any, name: str, field: FieldInfo) -> Any:
    if isinstance(section, Section):
        return getattr(section, name)
    return tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)


def _split_lists(kind: type[Section], words: Sequence[str]) -> list[str]:
    """`words` with the values of keys that hold several taken apart: L1,L2 or ["L1", "L2"]."""
    several = {f"--{key}" for key in known_keys(kind) if _holds_several(kind, key)}
    split: list[str] = []
    inside = False
    for word in words:
        flag, equals, value = word.partition("=")
        values = [word]
        if word.startswith("--"):
            inside = flag.replace("-", "_").replace("__", "--", 1) in several
            if inside:
                split.append(flag)
                values = [value] if equals else []
        if inside:
            values = [part for value in values for part in value.strip("[] ").split(",")]
            values = [part.strip(" \"'") for part in values if part.strip(" \"'")]
        split += values
    return split


def _holds_several(kind: type[Section], key: str) -> bool:
    sections = [kind]
    *parents, last = key.split(".")
    for part in parents:
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = [section for field in fields for section in sections_in(field.annotation)]
    annotations = [section.model_fields[last].annotation for section in sections if last in section.model_fields]
    return any(tuple in (get_origin(annotation), *map(get_origin, get_args(annotation))) for annotation in annotations)


def _with_sections(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the defaults of every absent section that `words` name; --help shows them all."""
    named = {
        name: sections[0]()
        for name, field in type(recipe).model_fields.items()
        if getattr(recipe, name) is None and (sections := sections_in(field.annotation))
        if any(word.startswith(f"--{name}.") or word in ("-h", "--help") for word in words)
    }
    return recipe.model_copy(update=named)


def with_algorithm(recipe: RecipeT, name: str) -> RecipeT:
    """`recipe` with the algorithm of this name.  Its keys start from its own defaults: those in the recipe were chosen
    for the recipe's algorithm, and a clip range of GRPO would be wrong for GSPO.  What all have stays.

    Raises ValidationError for an unknown algorithm.
    """
    if not isinstance(recipe, GrpoRecipe) or name == recipe.algo.name:
        return recipe
    values: dict[str, Any] = {"name": name}
    for shared in (AlgoSection, FamilySection):
        if isinstance(recipe.algo, shared) and issubclass(ALGORITHMS.get(name, OwnAlgo), shared):
            values |= {key: getattr(recipe.algo, key) for key in shared.model_fields}
    return type(recipe).model_validate({**recipe.model_dump(), "algo": values})


def _with_algorithm(recipe: RecipeT, words: Sequence[str]) -> RecipeT:
    """`recipe` with the algorithm that `words` name.  Raises ConfigError for a key that it does not use."""
    if not isinstance(recipe, GrpoRecipe):
        return recipe
    joined = [part for word in words for part in word.split("=", 1)]
    names = [value for word, value in pairwise(joined) if word == "--algo.name"]
    recipe = with_algorithm(recipe, names[-1] if names else recipe.algo.name)
    for word in joined:
        if word.startswith("--algo."):
            key = word.removeprefix("--algo.").replace("-", "_")
            if problem := of_other_algorithms(key, names[-1] if names else recipe.algo.name):
                raise ConfigError(problem)
    return recipe
