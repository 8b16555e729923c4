"""Section `algo`: which algorithm of the GRPO family, and its keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sbr.config.section import Section

AlgoName = Literal["grpo", "dr_grpo", "dapo", "gspo", "reg_grpo", "grpo_care"]

ALGO_DEFAULTS: dict[AlgoName, dict[str, float]] = {
    "grpo": {"beta": 0.1, "clip_low": 0.2, "clip_high": 0.2, "advantage_eps": 1e-4},
    "dr_grpo": {"beta": 0.0, "clip_low": 0.2, "clip_high": 0.2},
    "dapo": {
        "clip_low": 0.2,
        "clip_high": 0.28,
        "advantage_eps": 1e-4,
        "extra_rounds": 9,
        "overlong_weight": 0.5,
    },
    "gspo": {"beta": 0.0, "clip_low": 3e-4, "clip_high": 4e-4, "advantage_eps": 1e-4},
    "reg_grpo": {"beta": 0.1, "advantage_eps": 1e-4},
    "grpo_care": {
        "clip_low": 0.2,
        "clip_high": 0.2,
        "advantage_eps": 1e-4,
        "bonus": 0.5,
        "margin": 0.0,
        "likelihood_cap": 0.95,
        "ema_decay": 0.995,
        "ema_every": 10,
    },
}
"""Which keys an algorithm uses, each with its default; sources: docs/algorithms.md."""


class AlgoConfig(Section):
    """A key that is not set takes the default of its algorithm; one that its algorithm does not use is an error.

    Another `--algo.name` on the command line starts from that algorithm's defaults, whatever the recipe sets here.
    """

    name: AlgoName = "grpo"
    beta: float | None = Field(default=None, ge=0)
    """Weight of the KL term; 0 loads no reference model (grpo, reg_grpo 0.1; dr_grpo, gspo 0)."""
    clip_low: float | None = Field(default=None, ge=0)
    """The ratio of policies counts down to 1 - clip_low (0.2; gspo 0.0003; not reg_grpo)."""
    clip_high: float | None = Field(default=None, ge=0)
    """... and up to 1 + clip_high (0.2; dapo 0.28; gspo 0.0004; not reg_grpo)."""
    advantage_eps: float | None = Field(default=None, gt=0)
    """Added to the standard deviation that rewards are divided by (1e-4; not dr_grpo)."""
    extra_rounds: int | None = Field(default=None, ge=0)
    """dapo: rollout rounds in which other prompts take the place of groups without signal, at most (9)."""
    overlong_weight: float | None = Field(default=None, ge=0)
    """dapo: weight of its soft overlong punishment, beside that of reward.length_weight (0.5: DAPO's right and wrong
    answers are worth +1 and -1, here 1 and 0, so half its weight gives the same advantages)."""
    bonus: float | None = Field(default=None, ge=0)
    """grpo_care: reward of a right answer that its reasoning makes likely (0.5)."""
    margin: float | None = Field(default=None, ge=0)
    """grpo_care: how far below the mean of its group's right answers a likelihood may be (0)."""
    likelihood_cap: float | None = Field(default=None, gt=0, le=1)
    """grpo_care: likelihoods above count as this (0.95)."""
    ema_decay: float | None = Field(default=None, ge=0, lt=1)
    """grpo_care: weight of the old average when the reference follows the policy (0.995)."""
    ema_every: int | None = Field(default=None, ge=1)
    """grpo_care: training steps between two such updates (10)."""
    updates_per_rollout: int = Field(default=1, ge=1)
    """Optimizer updates on the same completions; a training step is one rollout with all its updates."""

    @model_validator(mode="after")
    def _fill(self) -> AlgoConfig:
        used = ALGO_DEFAULTS[self.name]
        for key in type(self).model_fields:
            if key in used and getattr(self, key) is None:
                object.__setattr__(self, key, used[key])  # the model is frozen for everyone else
            elif key not in used and key not in ("name", "updates_per_rollout") and getattr(self, key) is not None:
                users = ", ".join(name for name, keys in ALGO_DEFAULTS.items() if key in keys)
                raise ValueError(f"{key} is not used by {self.name} but by {users}; remove it, or change algo.name")
        return self
