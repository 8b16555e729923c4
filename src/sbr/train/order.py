"""Which prompts a step takes and with which seeds: pure functions of the recipe, so that a resumed run repeats them.

A step has `prompts_per_step` slots, numbered over all processes; process r of W works on slots r, r + W, r + 2W, ...
Nothing here depends on W, so the same recipe asks the same questions with the same seeds on one device or on eight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from sbr.config.training import TrainConfig
from sbr.errors import ConfigError


class Identified(Protocol):
    """A question: a Sample, or that of a CoT file."""

    @property
    def sample_id(self) -> str: ...


QuestionT = TypeVar("QuestionT", bound=Identified)


@dataclass(frozen=True, slots=True)
class Slot(Generic[QuestionT]):
    """One prompt of one step."""

    index: int
    """Position in the step, 0 to prompts_per_step - 1, over all processes."""
    sample: QuestionT
    seed: int
    """Seed of the G completions."""
    round: int = 0
    """0, or the rollout round in which this prompt took the slot of one without signal."""


def prompt_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order in which epoch `epoch` (from 0) visits `count` prompts."""
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()


def total_steps(count: int, config: TrainConfig) -> int:
    """Return the number of steps for `count` prompts.

    `max_steps` decides when it is set, over as many epochs as that takes.  Otherwise the whole steps that fit in
    `epochs` epochs; `left_over` counts the prompts that fill no last step.  Raises ConfigError when not one step fits.
    """
    if config.max_steps is not None:
        return config.max_steps
    steps = config.epochs * count // config.prompts_per_step
    if steps == 0:
        raise ConfigError(
            f"train.prompts_per_step is {config.prompts_per_step}, but {config.epochs} epoch(s) of {count} prompts do "
            "not fill one step; lower train.prompts_per_step, raise train.epochs or set train.max_steps"
        )
    return steps


def left_over(count: int, config: TrainConfig) -> int:
    """Return how many prompts of the last epoch fill no whole step and are not trained on (0 with max_steps)."""
    return 0 if config.max_steps is not None else config.epochs * count % config.prompts_per_step


def slots_of_step(
    samples: Sequence[QuestionT], step: int, config: TrainConfig, process: int, processes: int
) -> tuple[Slot[QuestionT], ...]:
    """Return the prompts that process `process` of `processes` takes in step `step` (from 1), in slot order.

    Epochs follow each other without a gap: a step may hold the end of one and the start of the next.
    """
    slots = []
    for index, row in enumerate(_rows_of_step(len(samples), step, config)):
        if index % processes == process:
            sample = samples[row]
            slots.append(Slot(index, sample, group_seed(config.seed, step, index, sample.sample_id)))
    return tuple(slots)


def spare_slot(
    samples: Sequence[QuestionT], step: int, config: TrainConfig, index: int, number: int
) -> Slot[QuestionT]:
    """Return the prompt that takes slot `index` of step `step` in extra round `number` (from 1).

    Every step has its own order of the prompts that it does not ask anyway; slots and rounds take from it one after the
    other, and from its start again when the data are few.  The order of epochs is left as it is.
    """
    own = set(_rows_of_step(len(samples), step, config))
    order = np.random.default_rng([config.seed, step, 1]).permutation(len(samples)).tolist()
    spares = [row for row in order if row not in own] or order
    sample = samples[spares[((number - 1) * config.prompts_per_step + index) % len(spares)]]
    seed = group_seed(config.seed, step, number * config.prompts_per_step + index, sample.sample_id)
    return Slot(index, sample, seed, number)


def _rows_of_step(count: int, step: int, config: TrainConfig) -> list[int]:
    """Rows of all slots of a step, of all processes."""
    rows: list[int] = []
    orders: dict[int, list[int]] = {}
    for index in range(config.prompts_per_step):
        epoch, position = divmod((step - 1) * config.prompts_per_step + index, count)
        if epoch not in orders:
            orders[epoch] = prompt_order(count, config.seed, epoch)
        rows.append(orders[epoch][position])
    return rows


def group_seed(seed: int, step: int, index: int, sample_id: str) -> int:
    """Return a seed in [0, 2**63) that is the same on every machine and Python version.

    The slot index keeps two visits of one prompt in the same step apart.
    """
    digest = hashlib.blake2b(f"{seed}/{step}/{index}/{sample_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
