"""What a training step reports: records of completions and figures of batches become one `StepMetrics`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from sbr.algo.grpo import GrpoMetrics
from sbr.train.sft_metrics import SftMetrics

TIMINGS = ("tokens_per_second", "seconds")
"""Fields that begin with these differ from run to run; all others repeat exactly."""


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """One scored completion, one line of completions.jsonl; the keys on disk are these field names."""

    step: int
    slot: int
    """Which prompt of the step."""
    index: int
    """Which completion of the prompt, 0 to G - 1."""
    sample_id: str
    response: str
    extracted: str | None
    gold: str
    reward: float
    accuracy: float
    format: float
    echo: bool
    """The reasoning is empty or says no more than a letter (`sbr.reward.health`)."""
    reason: str
    """How the answer was read."""
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Figures of one microbatch of one update."""

    loss: GrpoMetrics
    entropy: float
    """Mean over tokens, nats."""
    mismatch: float
    """Mean over tokens of |log-probability in the training pass before the update - in the rollout|."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall time of the stages of one step on one process."""

    frames: float
    """Waiting for decoded frames, and encoding prompts."""
    rollout: float
    reward: float
    reference: float
    """Log-probabilities under the reference, and under the old policy when there are several updates per rollout."""
    update: float
    step: float
    """The whole step, without saving."""


@dataclass(frozen=True, slots=True)
class ProcessStep:
    """Everything one process knows about a step."""

    completions: tuple[CompletionRecord, ...]
    batches: tuple[BatchFigures, ...]
    grad_norms: tuple[float, ...]
    """One per update, before clipping; the same on every process."""
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimizer step over all processes, one line of metrics.jsonl; the keys on disk are these field names."""

    step: int
    epoch: float
    """Epochs done after this step."""
    reward_mean: float
    reward_std: float
    """Mean over groups of the standard deviation (ddof=1) of the rewards in a group."""
    accuracy: float
    silent_groups: float
    """Share of groups in which all rewards are equal: they give no gradient but the KL term's."""
    format_rate: float
    echo_rate: float
    tokens_mean: float
    """Mean length of a completion, end of turn included."""
    tokens_max: int
    truncated_share: float
    loss: float
    """Mean over all completions; those of silent groups count as 0 where they were left out of the training pass."""
    kl: float | None
    """Mean over tokens of the k3 estimate; null without a reference."""
    entropy: float
    """Of the policy, nats a token.  Like all below: over the completions that went through the training pass."""
    ratio_mean: float
    clip_fraction: float
    rollout_mismatch: float
    """Mean |log-probability in training - in the rollout| over tokens; a large value is a bug or low precision."""
    grad_norm: float
    """Before clipping; mean over the updates of the step."""
    learning_rate: float
    tokens_per_second: float
    """Sampled tokens of all processes per second of the whole step."""
    seconds: float
    seconds_frames: float
    seconds_rollout: float
    seconds_reward: float
    seconds_reference: float
    seconds_update: float


def combine(step: int, epoch: float, learning_rate: float, parts: Sequence[ProcessStep]) -> StepMetrics:
    """Join the processes of one step.  Times are those of the slowest process, stage by stage."""
    rows = [record for part in parts for record in part.completions]
    groups: dict[int, list[float]] = {}
    for row in rows:
        groups.setdefault(row.slot, []).append(row.reward)
    batches = [batch for part in parts for batch in part.batches]
    by_token = [batch.loss.tokens for batch in batches]
    kls = [batch.loss.kl for batch in batches if batch.loss.kl is not None]
    seconds = max(part.seconds.step for part in parts)
    tokens = sum(row.tokens for row in rows)
    return StepMetrics(
        step=step,
        epoch=epoch,
        reward_mean=_mean(row.reward for row in rows),
        reward_std=_mean(statistics.stdev(rewards) for rewards in groups.values()),
        accuracy=_mean(row.accuracy for row in rows),
        silent_groups=_mean(max(rewards) == min(rewards) for rewards in groups.values()),
        format_rate=_mean(row.format for row in rows),
        echo_rate=_mean(row.echo for row in rows),
        tokens_mean=_mean(row.tokens for row in rows),
        tokens_max=max(row.tokens for row in rows),
        truncated_share=_mean(row.truncated for row in rows),
        loss=sum(batch.loss.loss * batch.loss.rows for batch in batches) / (len(rows) * len(parts[0].grad_norms)),
        kl=_weighted(kls, by_token) if kls else None,
        entropy=_weighted([batch.entropy for batch in batches], by_token),
        ratio_mean=_weighted([batch.loss.ratio_mean for batch in batches], by_token),
        clip_fraction=_weighted([batch.loss.clip_fraction for batch in batches], by_token),
        rollout_mismatch=_weighted([batch.mismatch for batch in batches], by_token),
        grad_norm=_mean(parts[0].grad_norms),
        learning_rate=learning_rate,
        tokens_per_second=tokens / seconds,
        seconds=seconds,
        seconds_frames=max(part.seconds.frames for part in parts),
        seconds_rollout=max(part.seconds.rollout for part in parts),
        seconds_reward=max(part.seconds.reward for part in parts),
        seconds_reference=max(part.seconds.reference for part in parts),
        seconds_update=max(part.seconds.update for part in parts),
    )


def numbers(metrics: StepMetrics | SftMetrics) -> dict[str, float]:
    """Return what trackers take: every field but the step, without nulls."""
    values = {field.name: getattr(metrics, field.name) for field in fields(metrics) if field.name != "step"}
    return {name: float(value) for name, value in values.items() if value is not None}


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(float(value) for value in values)


def _weighted(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / total if total else 0.0
