"""What every section of a recipe is, and the types that several sections share.

Every number has a range: generous, but such that no typing error takes all memory or fills the weights with NaN.
"""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Source = Literal["seed_bench_r1", "egoplan", "egoplan2", "longvideobench"]

Level = Literal["L1", "L2", "L3", "val"]
"""Levels of all sources; which source has which: sbr.data.sources.select."""

Rule = Literal["official", "care", "strict"]

Control = Literal["none", "blind", "no_video"]

DType = Literal["float32", "bfloat16", "float16"]

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1, le=10**9)]
"""Rows, questions, steps."""
BatchSize = Annotated[int, Field(ge=1, le=2**16)]
"""Prompts or questions at once."""
Answers = Annotated[int, Field(ge=1, le=4096)]
"""Completions of one prompt."""
NewTokens = Annotated[int, Field(ge=1, le=2**17)]
"""Most tokens of a completion."""
Share = Annotated[float, Field(ge=0, le=1)]
SharePart = Annotated[float, Field(ge=0, lt=1)]
"""A share that leaves something."""
Weight = Annotated[float, Field(ge=-1000, le=1000)]
"""Of a part in a sum."""
Rate = Annotated[float, Field(gt=0, le=1)]
"""A learning rate, or a share above 0."""
TopK = Annotated[int, Field(ge=0, le=10**7)]


def printable(text: Any) -> Any:
    if len(str(text)) > 4096 or any(unicodedata.category(character) in ("Cc", "Cs") for character in str(text)):
        raise PydanticCustomError("text", "expected at most 4096 characters, none of them a control character")
    return text


def _plain(tree: dict[str, Any]) -> dict[str, Any]:
    stack: list[tuple[Any, int]] = [(tree, 0)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, dict) and depth < 16:
            stack += [(inner, depth + 1) for inner in (*value, *value.values())]
        elif isinstance(value, (list, tuple)) and depth < 16:
            stack += [(inner, depth + 1) for inner in value]
        elif not isinstance(value, (str, int, type(None))) and not (isinstance(value, float) and math.isfinite(value)):
            raise PydanticCustomError(
                "plain", "expected texts, finite numbers, true and false, and lists and tables of them, 16 deep at most"
            )
    return tree


Text = Annotated[str, AfterValidator(printable)]
Place = Annotated[Path, AfterValidator(printable)]
"""A file or folder."""
Plain = Annotated[dict[str, Any], AfterValidator(_plain)]
"""A table of the user's own, as JSON can hold it."""


class Section(BaseModel):
    """Base of all recipe sections: frozen; unknown keys are errors; numbers are finite; the text under a key is its
    help on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
