"""What a step of SFT reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SftPart:
    """What one process knows about a step."""

    loss: float
    """Its part of the sum: the parts of all processes add up to the loss."""
    rows: int
    """Responses."""
    tokens: int
    """Their tokens, ends of turn included."""
    seconds: float
    """The whole step, without saving."""
    seconds_frames: float
    """Waiting for decoded frames, and encoding prompts."""
    seconds_update: float
    seconds_validation: float


@dataclass(frozen=True, slots=True)
class SftMetrics:
    """One optimizer step over all processes, one line of metrics.jsonl; the keys on disk are these field names."""

    step: int
    epoch: float
    """Epochs done after this step."""
    loss: float
    """Mean negative log-likelihood of the response tokens of this step, nats a token, before its update."""
    rows: int
    tokens: int
    held_out_loss: float | None
    """The same over the held-out responses after the update; null when the step is not looked at."""
    accuracy: float | None
    """Share of right greedy answers on validation.level after the update; null when the step is not looked at."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    tokens_per_second: float
    """Response tokens of all processes per second of the whole step."""
    seconds: float
    """Times are those of the slowest process, stage by stage."""
    seconds_frames: float
    seconds_update: float
    seconds_validation: float


def combine(
    step: int,
    epoch: float,
    learning_rate: float,
    grad_norm: float,
    held_out_loss: float | None,
    accuracy: float | None,
    parts: Sequence[SftPart],
) -> SftMetrics:
    """Join the processes of one step."""
    seconds = max(part.seconds for part in parts)
    tokens = sum(part.tokens for part in parts)
    return SftMetrics(
        step=step,
        epoch=epoch,
        loss=sum(part.loss for part in parts),
        rows=sum(part.rows for part in parts),
        tokens=tokens,
        held_out_loss=held_out_loss,
        accuracy=accuracy,
        grad_norm=grad_norm,
        learning_rate=learning_rate,
        tokens_per_second=tokens / seconds,
        seconds=seconds,
        seconds_frames=max(part.seconds_frames for part in parts),
        seconds_update=max(part.seconds_update for part in parts),
        seconds_validation=max(part.seconds_validation for part in parts),
    )
