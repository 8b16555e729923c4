"""What every section of a recipe is, and the words that several sections share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["seed_bench_r1", "egoplan", "egoplan2", "longvideobench"]

Level = Literal["L1", "L2", "L3", "val"]
"""Levels of all sources; which source has which: sbr.data.sources.select."""

Rule = Literal["official", "care", "strict"]

Control = Literal["none", "blind", "no_video"]

DType = Literal["float32", "bfloat16", "float16"]


class Section(BaseModel):
    """Base of all recipe sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
