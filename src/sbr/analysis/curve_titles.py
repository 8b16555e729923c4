"""The figures of metrics.jsonl that are drawn: their keys, and how they are called and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sbr.analysis.training_metrics import Kind


@dataclass(frozen=True, slots=True)
class Figure:
    """Example: Figure("silent_groups", "Signal", "%", "Share of groups ...", complement=True)."""

    key: str
    """In `TrainingMetrics.values`.  One that ends in "/" stands for all keys that begin so, which name themselves."""
    title: str
    unit: str
    """"%": a fraction of 1."""
    about: str
    complement: bool = False
    """1 minus what was logged is drawn."""

    @property
    def stage(self) -> str:
        """
        >>> Figure("seconds_rollout", "Seconds: rollout", "s", "").stage
        'rollout'
        """
        return self.title.removeprefix("Seconds: ")

    def value_of(self, logged: float) -> float:
        return 1 - logged if self.complement else logged

    def named(self, keys: Iterable[str]) -> tuple[Figure, ...]:
        """Itself, or one for each of the `keys` it stands for, in alphabetical order."""
        if not self.key.endswith("/"):
            return (self,)
        names = sorted(key.removeprefix(self.key) for key in keys if key.startswith(self.key))
        return tuple(replace(self, key=self.key + name, title=f"{self.title}, {name}") for name in names)


_VALIDATION = Figure(
    "validation_accuracy/", "Validation accuracy", "%", "Share of right greedy answers to the first questions."
)
_GRADIENT = Figure("grad_norm", "Gradient norm", "", "Before clipping; a rise over many steps warns of divergence.")

FIGURES: Mapping[Kind, tuple[Figure, ...]] = MappingProxyType(
    {
        "GRPO": (
            Figure("reward_mean", "Reward", "", "Mean reward of the sampled completions."),
            Figure("accuracy", "Accuracy", "%", "Share of sampled completions whose answer is the right letter."),
            Figure("tokens_mean", "Length", "tokens", "Mean length of a completion, end of turn included."),
            Figure("format_rate", "Format", "%", "Share of completions in the asked format."),
            Figure("truncated_share", "Truncated", "%", "Share of completions cut off by the token limit."),
            Figure(
                "contradiction_rate",
                "Contradictions",
                "%",
                "Share of completions whose reasoning ends at another option than the answer, or that give none.",
            ),
            Figure("echo_rate", "Letters only", "%", "Share of completions whose reasoning is empty or a letter."),
            Figure("kl", "KL", "nats", "Mean over tokens of the k3 estimate of the divergence from the reference."),
            Figure("entropy", "Entropy", "nats", "Of the policy, mean over tokens; near 0 nothing is explored."),
            Figure(
                "silent_groups",
                "Signal",
                "%",
                "Share of groups whose rewards differ: only these teach anything but the KL term.",
                complement=True,
            ),
            Figure(
                "rollout_mismatch",
                "Mismatch",
                "nats",
                "Mean over tokens of |log-probability in training - in the rollout|; a large one is a bug or rounding.",
            ),
            Figure("clip_fraction", "Clipped", "%", "Share of tokens whose ratio was clipped."),
            Figure("importance_mean", "Importance weight", "", "Mean over tokens of the weights as used."),
            Figure("importance_capped", "Importance capped", "%", "Share of tokens whose weight was above the cap."),
            _GRADIENT,
            Figure("custom/", "Reward", "", "Mean of this reward of the user's own, before its weight."),
            _VALIDATION,
        ),
        "SFT": (
            Figure("loss", "Loss", "nats", "Mean negative log-likelihood of the response tokens, before the update."),
            Figure("held_out_loss", "Held-out loss", "nats", "The same on responses that are not learned."),
            _GRADIENT,
            _VALIDATION,
        ),
    }
)

STAGES = tuple(
    Figure(key, f"Seconds: {name}", "s", about)
    for key, name, about in (
        ("seconds", "whole step", "Without validation and saving."),
        ("seconds_frames", "frames", "Waiting for decoded frames, and encoding prompts."),
        ("seconds_rollout", "rollout", "Drawing the completions."),
        ("seconds_reward", "reward", "Scoring the completions."),
        ("seconds_reference", "reference", "Log-probabilities under the reference and the old policy."),
        ("seconds_update", "update", "Gradients and the optimizer."),
        ("seconds_validation", "validation", "On top of a step."),
    )
)
"""Of both kinds."""
