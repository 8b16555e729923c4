"""Rewards of the user's own, named in `[reward.custom]` as "module:function"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sbr.config.named import call_named_number, load_named
from sbr.types import Sample

KEY = "reward.custom"


def check_custom(names: Iterable[str]) -> None:
    """Load every function, so that a missing one ends a run before it begins.  Raises ConfigError."""
    for name in names:
        load_named(name, KEY)


def custom_parts(
    response: str, sample: Sample, rewarded: str, tokens: int | None, names: Iterable[str]
) -> tuple[tuple[str, float], ...]:
    """Return name and value of function(response, sample, tokens), one for each of `names`.

    The function sees the letter that earns as `sample.gold`, which is another one where reward noise flipped it.

    Raises ConfigError when a function is missing, fails or gives no finite number; ValueError without `tokens`.
    """
    shown = sample if rewarded == sample.gold else replace(sample, gold=rewarded)
    found: list[tuple[str, float]] = []
    for name in names:
        if tokens is None:
            raise ValueError("reward.custom is set, so the scorer needs the tokens of a response")
        found.append((name, call_named_number(name, KEY, response, shown, tokens)))
    return tuple(found)
