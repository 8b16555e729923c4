"""What a step of SFT reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sbr.train.learner import Done, level_words


@dataclass(frozen=True, slots=True)
class SftPart:
    """What one process knows about a step."""

    loss: float
    """Its part of the sum: the parts of all processes add up to the loss."""
    rows: int
    """Responses."""
    tokens: int
    """Their tokens, ends of turn included."""
    grad_norm: float
    """Before clipping; the same on every process."""


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
    validation_accuracy: dict[str, float]
    """Share of right greedy answers to validation.levels after the update, by level; empty when it is not looked at."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    tokens_per_second: float
    """Response tokens of all processes per second of the whole step."""
    seconds: float
    """The whole step, without validation and saving.  Times are those of the slowest process, stage by stage."""
    seconds_frames: float
    """Waiting for decoded frames, and encoding prompts."""
    seconds_update: float
    seconds_validation: float
    processes: int | None = None
    """That shared the step; null in lines that are older than this field."""

    def words(self) -> str:
        held_out = "" if self.held_out_loss is None else f"  held out {self.held_out_loss:.3f}"
        return f"loss {self.loss:.3f}{held_out}" + level_words(self.validation_accuracy)


def combine(done: Done, parts: Sequence[SftPart]) -> SftMetrics:
    """Join the processes of one step."""
    tokens = sum(part.tokens for part in parts)
    return SftMetrics(
        step=done.step,
        epoch=done.epoch,
        loss=sum(part.loss for part in parts),
        rows=sum(part.rows for part in parts),
        tokens=tokens,
        held_out_loss=done.seen.held_out_loss,
        validation_accuracy=done.seen.accuracy,
        grad_norm=parts[0].grad_norm,
        learning_rate=done.learning_rate,
        tokens_per_second=tokens / done.seconds["step"],
        seconds=done.seconds["step"],
        seconds_frames=done.seconds["frames"],
        seconds_update=done.seconds["update"],
        seconds_validation=done.seconds["validation"],
        processes=len(parts),
    )
