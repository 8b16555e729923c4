"""What a training run takes on each GPU, by part and by phase, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.errors import ConfigError
from sbr.plan.stand_in import Cluster, algorithm_of, check, copies_of_weights, moments, sharding_of, trained_model
from sbr.plan.step import PARTS, Assumed, Phase, StepCost, step_cost

USABLE = 0.9
"""Share of a GPU's memory that tensors may take; the rest is for CUDA itself, NCCL, and holes between tensors."""


@dataclass(frozen=True)
class Rates:
    """Of a GPU, as reached and not as advertised."""

    operations: float
    """A second, of matrix products in training and prefill."""
    bytes: float
    """A second, read from its memory in decoding."""


@dataclass(frozen=True)
class Plan:
    cluster: Cluster
    cost: StepCost
    assumed: Assumed
    seconds: dict[str, float]
    """Of a prompt on one GPU, by phase; 0 where nothing is run."""
    changes: tuple[str, ...] = ()
    """Words of the command line that make this plan out of the recipe's."""

    @property
    def largest(self) -> tuple[str, Phase]:
        """The phase that takes most, with its name."""
        return max(self.cost.phases.items(), key=lambda item: item[1].peak)

    @property
    def peak(self) -> int:
        return self.largest[1].peak

    @property
    def usable(self) -> int:
        return int(USABLE * self.cluster.memory)

    @property
    def fits(self) -> bool:
        return self.peak <= self.usable

    def as_json(self) -> dict[str, Any]:
        name, phase = self.largest
        operations = {phase_name: found.operations for phase_name, found in self.cost.phases.items()}
        return {
            "fits": self.fits,
            "peak_bytes": self.peak,
            "usable_bytes": self.usable,
            "memory_bytes": self.cluster.memory,
            "peak_phase": name,
            "parts": {part: phase.parts.get(part, 0) for part in PARTS},
            "phases": {phase_name: found.parts for phase_name, found in self.cost.phases.items()},
            "gpus": self.cluster.gpus,
            "nodes": self.cluster.nodes,
            "sharding": self.cost.mode,
            "weights": self.cost.weights,
            "trained": self.cost.trained,
            "prompt_tokens": self.cost.prompt_tokens,
            "response_tokens": self.assumed.response_tokens,
            "responses": self.assumed.responses,
            "operations_per_prompt": {**operations, "total": sum(operations.values())},
            "seconds_per_prompt": {**self.seconds, "total": sum(self.seconds.values())},
        }


def make_plan(
    recipe: TrainRecipe, cluster: Cluster, assumed: Assumed, rates: Rates, changes: tuple[str, ...] = ()
) -> Plan:
    """Raises ConfigError and CheckpointError as the run would."""
    check(recipe, cluster)
    cost = step_cost(recipe, cluster, assumed)
    seconds = {name: phase.operations / rates.operations for name, phase in cost.phases.items()}
    if "decoding" in seconds:
        seconds["decoding"] += cost.decoding_bytes / rates.bytes
    return Plan(cluster, cost, assumed, seconds, changes)


def state_bytes(recipe: TrainRecipe, cluster: Cluster) -> int:
    """Of weights, gradients, moments and reference on one GPU: at least so much is needed.  No pass is run."""
    model = trained_model(recipe)
    weights = list(model.parameters())
    held = sum(weight.numel() * weight.itemsize for weight in weights) * (
        1 + copies_of_weights(recipe, algorithm_of(recipe))
    )
    learned = sum(weight.numel() * weight.itemsize for weight in weights if weight.requires_grad)
    learned += sum(part.numel() * part.itemsize for part in moments(model, recipe.train.optimizer))
    mode = sharding_of(recipe, cluster)
    parts = {"none": 1, "full": cluster.gpus, "hybrid": cluster.gpus // cluster.nodes}[mode]
    return (held + learned) // parts


def assumed_of(recipe: TrainRecipe, text_tokens: int, response_tokens: int | None) -> Assumed:
    """GRPO: all completions at their longest, unless said otherwise; SFT: one response to a prompt.

    Raises ConfigError for more tokens than a completion may have.
    """
    if not isinstance(recipe, GrpoRecipe):
        return Assumed(text_tokens, response_tokens or recipe.validation.max_new_tokens, 1)
    most = recipe.rollout.max_new_tokens
    if response_tokens is not None and response_tokens > most:
        raise ConfigError(
            f"--response-tokens is {response_tokens}, and rollout.max_new_tokens is {most}; give at most that"
        )
    return Assumed(text_tokens, response_tokens or most, recipe.rollout.group_size)
