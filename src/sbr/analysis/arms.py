"""Which training runs are seeds of one arm: the same recipe but for the seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from sbr.analysis.training_metrics import TrainingMetrics
from sbr.resume.folder import NO_MATTER, flat
from sbr.train.run_folder import MAY_CHANGE

SEEDS = frozenset({"train.seed", "cold_start.train.seed"})
"""Keys of recipes in which seeds of one arm differ."""
WRITING = NO_MATTER | frozenset(key for key in MAY_CHANGE if "validation." not in key)
"""Keys in which they may differ too: they change no figure.  What validation asks changes its figures."""


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """Runs that differ in their seeds alone.  Example: Arm("grpo (3 seeds)", {"grpo_0": ..., "grpo_1": ..., ...})."""

    name: str
    runs: Mapping[str, TrainingMetrics]


def arms_of(runs: Mapping[str, TrainingMetrics]) -> tuple[Arm, ...]:
    """The runs by arm, in order of their first runs.

    A second run with a seed that its arm has already is no further seed; it begins an arm of its own.
    """
    arms: dict[str, list[dict[str, TrainingMetrics]]] = {}
    for name, run in runs.items():
        recipe = flat(run.recipe)
        setting = {key: value for key, value in recipe.items() if key not in SEEDS | WRITING}
        same = arms.setdefault(json.dumps([run.kind, setting], sort_keys=True), [])
        fitting = next((arm for arm in same if _seeds(run) not in map(_seeds, arm.values())), None)
        if fitting is None:
            same.append(fitting := {})
        fitting[name] = run
    order = list(runs)
    found = sorted((arm for same in arms.values() for arm in same), key=lambda arm: order.index(next(iter(arm))))
    names = [_name(arm) for arm in found]
    unique = [name if names.count(name) == 1 else ", ".join(arm) for name, arm in zip(names, found, strict=True)]
    return tuple(Arm(name, arm) for name, arm in zip(unique, found, strict=True))


def _seeds(run: TrainingMetrics) -> tuple[object, ...]:
    recipe = flat(run.recipe)
    return tuple(recipe.get(key) for key in sorted(SEEDS))


def _name(runs: Mapping[str, TrainingMetrics]) -> str:
    """
    >>> _name({"runs/grpo_0": ..., "runs/grpo_1": ...})
    'runs/grpo (2 seeds)'
    """
    if len(runs) == 1:
        return next(iter(runs))
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*runs, strict=False))
    start = "".join(letters[0] for letters in shared).rstrip("0123456789").rstrip("_-./ ")
    return f"{start or next(iter(runs))} ({len(runs)} seeds)"
