"""Functions of the user's own, named in a recipe as "module:function".

The module is imported as Python imports any other, from the current directory too: this runs the user's code.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
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

NativeOrNamed = Annotated[str, AfterValidator(lambda name: name if name == "native" else _named(name))]


@lru_cache
def load_named(name: str, key: str) -> Callable[..., Any]:
    """Return the function that `name` ("module:function") names; `key` is where the recipe names it, for messages.

    Raises ConfigError when there is no such module or function, or when the module cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file of the user's cannot take the place of an installed module
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise ConfigError(f"{key} is {name!r}: {module_name} cannot be imported: {_where(error)}") from error
        raise ConfigError(
            f"{key} is {name!r}, and there is no module {module_name!r} in {here} or on the Python path; start sbr "
            f"where {module_name.partition('.')[0]}.py lies, or name its folder in PYTHONPATH"
        ) from None
    except Exception as error:  # whatever the user's module does while it is imported
        raise ConfigError(f"{key} is {name!r}: {module_name} cannot be imported: {_where(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        found = "no function" if function is None else f"a {type(function).__name__}, not a function,"
        raise ConfigError(f"{key} is {name!r}, and {module.__file__} has {found} {function_name!r}; write it there")
    return function


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


def _where(error: Exception) -> str:
    """The error, and the line of the user's file (the last one outside the standard library's importer)."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {error}{place}"
