"""Functions of the user's own, named in a recipe as "module:function".

The module is imported as Python imports any other, from the current directory too: this runs the user's code.
"""

from __future__ import annotations

import importlib
import math
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from sbr.errors import ConfigError, SbrError


def _named(name: str) -> str:
    module, colon, function = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), function)):
        raise PydanticCustomError("named", 'expected a function as "module:function"')
    return name


Named = Annotated[str, AfterValidator(_named)]
"""Such as "my_rewards:short": function `short` of my_rewards.py."""

SamplerName = Annotated[str, AfterValidator(lambda name: name if name in ("native", "vllm") else _named(name))]


@lru_cache
def load_named(name: str, key: str) -> Callable[..., Any]:
    """Return the function that `name` ("module:function") names; `key` is where the recipe names it, for messages.

    Raises ConfigError when there is no such module or function, or when the module cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = _import(module_name)
    except Exception as error:  # whatever the user's module does while it is imported
        if not _is_missing(module_name, error):
            raise ConfigError(f"{key} is {name!r}: {module_name} cannot be imported: {_where(error)}") from error
        raise ConfigError(
            f"{key} is {name!r}, and there is no module {module_name!r} in {Path.cwd()} or on the Python path; start "
            f"sbr where {module_name.partition('.')[0]}.py lies, or name its folder in PYTHONPATH"
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        place = getattr(module, "__file__", None) or module_name
        found = "no function" if function is None else f"a {type(function).__name__}, not a function,"
        raise ConfigError(f"{key} is {name!r}, and {place} has {found} {function_name!r}; write it there")
    return function


def source_files(named: Iterable[tuple[str, str]]) -> dict[str, Path]:
    """{"module my_rewards": its file} for every (key, "module:function"), so that a changed one is noticed later.

    What these modules import is not followed; a module without a file, such as time, has none here.  Raises ConfigError
    as `load_named` does.
    """
    files: dict[str, Path] = {}
    for key, name in named:
        load_named(name, key)
        module = name.partition(":")[0]
        if place := getattr(sys.modules[module], "__file__", None):
            files[f"module {module}"] = Path(place)
    return files


def call_named(name: str, key: str, *arguments: Any) -> Any:
    """Call the function that `name` names.

    Raises ConfigError with file and line when it raises something else than an SbrError, which passes as it is.
    """
    try:
        return load_named(name, key)(*arguments)
    except SbrError:
        raise
    except Exception as error:  # whatever the user's function does
        raise ConfigError(f"{key} is {name!r}: it failed with {_where(error)}") from error


def call_named_number(name: str, key: str, *arguments: Any) -> float:
    """The same for a function that gives a number.  Raises ConfigError when it gives none or one that is not finite."""
    value = call_named(name, key, *arguments)
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    try:
        if number and math.isfinite(float(value)):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass  # a tensor of several numbers, an integer beyond any float
    raise ConfigError(f"{key} is {name!r}: it gave {str(value)[:80]!r}, and a finite number is needed")


def _import(module_name: str) -> ModuleType:
    """The module on the Python path or, last, so that no file there replaces an installed module, of this directory."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if here in sys.path or not _is_missing(module_name, error):
            raise
        sys.path.append(here)
        return importlib.import_module(module_name)


def _is_missing(module_name: str, error: Exception) -> bool:
    """Whether it is this module, or the package it lies in, that there is none of: not one that it imports."""
    return isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")


def _where(error: Exception) -> str:
    """The error, and the line of the user's file (the last one outside the standard library's importer)."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{place}"
