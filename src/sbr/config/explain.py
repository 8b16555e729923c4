"""What is wrong with a recipe, in words: the key, what it is, what it may be, and the nearest known key."""

from __future__ import annotations

import difflib
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sbr.config.algo import ALGORITHMS, OwnAlgo
from sbr.config.section import Section

NAME = "*"

SHOWN = 20
"""Problems of one recipe that are told; more are counted."""

_BOUNDS = ((Gt, "gt", "more than"), (Ge, "ge", "at least"), (Lt, "lt", "less than"), (Le, "le", "at most"))
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")


def explain(kind: type[Section], error: ValidationError) -> str:
    """One line a problem, each with what to do about it."""
    problems = error.errors(include_url=False)
    lines = [_explain(kind, problem) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN} more")
    return "\n  ".join(lines)


def known_keys(kind: type[Section], prefix: str = "") -> list[str]:
    """All dotted keys of a recipe, sections included, e.g. "train", "train.learning_rate"; `NAME` stands for names of
    one's own, e.g. "stages.*.recipe"."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        named = f"{name}.{NAME}" if are_named(field.annotation) else name
        for section in sections_in(field.annotation):
            keys += known_keys(section, f"{prefix}{named}.")
    return list(dict.fromkeys(keys))


def are_named(annotation: Any) -> bool:
    """Is the field a table of sections under names of one's own?"""
    return get_origin(annotation) is dict or any(are_named(part) for part in get_args(annotation))


def sections_in(annotation: Any) -> list[type[Section]]:
    """The section classes in a field's type: `DataConfig`, `LoraConfig | None`, or those of a union by name."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Section) else []
    return [section for part in get_args(annotation) for section in sections_in(part)]


def verb(kind: type[Section]) -> str:
    """The command a recipe belongs to, e.g. "sbr mini pretrain": its docstring is "`sbr mini pretrain RECIPE`"."""
    return _command(kind).rpartition(" ")[0]


def what(kind: type[Section]) -> str:
    """What its file is called: recipe, or study."""
    return _command(kind).rpartition(" ")[2].lower()


def _command(kind: type[Section]) -> str:
    return (kind.__doc__ or "").strip().strip("`")


def of_other_algorithms(key: str, name: str) -> str | None:
    """What to say of a key of `algo` that `name` does not use and others do."""
    used = ALGORITHMS.get(name, OwnAlgo).model_fields
    users = [other for other, section in ALGORITHMS.items() if key in section.model_fields]
    if key in used or not users:
        return None
    advice = "remove it, or change algo.name"
    if name not in ALGORITHMS:
        name, advice = "an algorithm of your own", "put what that needs into [algo.options]"
    return f"algo.{key} is not used by {name} but by {', '.join(users)}; {advice}"


def _explain(kind: type[Section], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    # Pydantic names the class of the union too.
    algorithm = path.pop(1) if path[:1] == ["algo"] and len(path) > 2 else None
    key, found = _short(".".join(path)), _show(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            if algorithm and (other := of_other_algorithms(path[1], algorithm)):
                return other
            name = path[1] if len(path) > 1 else NAME
            keys = [known.replace(NAME, name) for known in known_keys(kind)]
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"unknown key {key!r}{hint} (`{_command(kind)} --help` lists all keys)"
        case "missing":
            return f"{key} is missing; set it in the {what(kind)}"
        case "value_error":  # of a section as a whole
            return f"{key}.{problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
        case "union_tag_invalid":
            near = difflib.get_close_matches(str(problem["input"]["name"]), ALGORITHMS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return (
                f"algo.name is {_show(problem['input']['name'])}, expected {', '.join(ALGORITHMS)} or "
                f'"module:function" of your own{hint}'
            )
        case "union_tag_not_found":
            return f"{key} is {found}, expected a section with a name"
        case "model_type" | "model_attributes_type":
            return f"{key} is {found}, expected a section of keys"
        case wrong if wrong in _OUT_OF_RANGE and (range_ := _range(_field(kind, path))):
            return f"{key} is {found}, expected {range_}"
        case _:
            return f"{key} is {found}: {problem['msg']}"


def _field(kind: type[Section], path: list[str]) -> FieldInfo | None:
    field, sections = None, [kind]
    for part in path:
        field = next((section.model_fields[part] for section in sections if part in section.model_fields), None)
        sections = sections_in(field.annotation) if field else []
    return field


def _range(field: FieldInfo | None) -> str | None:
    """What a number may be, e.g. "more than 0 and at most 1"."""
    if field is None:
        return None
    marks = [*field.metadata]
    for part in get_args(field.annotation):  # of `int | None`
        marks += [mark for info in getattr(part, "__metadata__", ()) for mark in getattr(info, "metadata", ())]
    words = [
        f"{word} {getattr(mark, name)}" for bound, name, word in _BOUNDS for mark in marks if isinstance(mark, bound)
    ]
    return " and ".join(words) or None


def _show(value: Any) -> str:
    try:
        return _short(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits; tables in tables
        return f"a {type(value).__name__} too long to show"


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
