"""What a training step reports: records of completions and figures of batches become one `GrpoMetrics`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sbr.algo.loss import LossMetrics
from sbr.reward.health import health
from sbr.train.grpo.collect import Collected
from sbr.train.learner import Done, level_words


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """One scored completion, one line of completions.jsonl; the keys on disk are these field names."""

    step: int
    slot: int
    """Which prompt of the step."""
    round: int
    """0, or the extra rollout round in which this prompt took the slot."""
    replaced: bool
    """The group had no signal, and another prompt took its slot: it was not learned from."""
    index: int
    """Which completion of the prompt, 0 to G - 1."""
    sample_id: str
    response: str
    extracted: str | None
    gold: str
    rewarded: str
    """The letter that earns the accuracy reward; not the gold one where reward noise flipped it."""
    reward: float
    accuracy: float
    """1 when the answer is the gold letter."""
    format: float
    consistency: float
    consistency_reason: str
    length: float
    bonus: float
    """Of GRPO-CARE; part of `reward`."""
    echo: bool
    """The reasoning is empty or says no more than a letter (`sbr.reward.health`)."""
    reason: str
    """How the answer was read."""
    tokens: int
    truncated: bool
    custom: tuple[tuple[str, float], ...] = ()
    """Rewards of the user's own by name, before their weights."""


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """Figures of one microbatch of one update."""

    loss: LossMetrics
    entropy: float
    """Mean over tokens, nats."""
    mismatch: float
    """Mean over tokens of |log-probability in the training pass before the update - in the rollout|."""


@dataclass(frozen=True, slots=True)
class ProcessStep:
    """Everything one process knows about a step."""

    completions: tuple[CompletionRecord, ...]
    batches: tuple[BatchFigures, ...]
    grad_norms: tuple[float, ...]
    """One per update, before clipping; the same on every process."""


@dataclass(frozen=True, slots=True)
class GrpoMetrics:
    """One optimizer step over all processes, one line of metrics.jsonl; the keys on disk are these field names."""

    step: int
    epoch: float
    """Epochs done after this step."""
    reward_mean: float
    reward_std: float
    """Mean over groups of the standard deviation (ddof=1) of the rewards in a group."""
    accuracy: float
    """Share of answers that are the gold letter."""
    accuracy_rewarded: float
    """Share of answers that are the rewarded letter: the same without reward noise."""
    flipped_share: float
    """Share of completions whose question reward noise has flipped."""
    silent_groups: float
    """Share of groups in which all rewards are equal: they give no gradient but the KL term's.  Like all figures of
    answers, over everything that was sampled."""
    replaced_groups: int
    """Of them, how many lost their slot to another prompt (dapo)."""
    silent_in_batch: float
    """Share of groups without signal among those that were learned from."""
    rollout_rounds: int
    bonus_mean: float
    """Mean bonus of GRPO-CARE, part of `reward_mean`."""
    format_rate: float
    consistency_rate: float
    """Share of answers that the reasoning ends at (`sbr.reward.consistency`; 0.5 is no 1)."""
    contradiction_rate: float
    """Share of answers that the reasoning contradicts, or that give none."""
    length_mean: float
    """Mean of the length reward, 0 to -1."""
    echo_rate: float
    tokens_mean: float
    """Mean length of a completion, end of turn included."""
    tokens_max: int
    truncated_share: float
    loss: float
    """As minimised, mean over updates; silent groups count as 0 where they were left out of the training pass."""
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
    validation_accuracy: dict[str, float]
    """Share of right greedy answers to validation.levels after the step, by level; empty when it is not looked at."""
    seconds: float
    """The whole step, without validation and saving.  Times are those of the slowest process, stage by stage."""
    seconds_frames: float
    """Waiting for decoded frames, and encoding prompts."""
    seconds_rollout: float
    seconds_reward: float
    seconds_reference: float
    """Log-probabilities under the reference, and under the old policy when there are several updates per rollout."""
    seconds_update: float
    seconds_validation: float
    importance_mean: float | None = None
    """Mean over tokens of the importance weights as used; null without (algo.importance)."""
    importance_capped: float | None = None
    """Share of tokens whose weight was above algo.importance_cap."""
    guard: dict[str, float] = field(default_factory=dict)
    """Of a look (`sbr.train.guard`): p-values against the start and the best look, corrected for all looks (`p_start`,
    `p_best`); `best_step`, the best look so far; `stopped`, 1 where the run ended for it."""
    custom: dict[str, float] = field(default_factory=dict)
    """Means of the user's own rewards by name, before their weights."""
    tokens_trained: int | None = None
    """Tokens that went through the training pass, once an update; those of silent groups only where they were computed.
    null in lines that are older than this field, as `processes`."""
    processes: int | None = None
    """That shared the step."""

    def words(self) -> str:
        return f"reward {self.reward_mean:.2f}  {self.tokens_mean:.0f} tokens" + level_words(self.validation_accuracy)


def completion_records(step: int, collected: Collected, bonus_PG: Tensor) -> tuple[CompletionRecord, ...]:
    """Return one record per completion; `bonus_PG` belongs to `collected.batch`."""
    none = [0.0] * bonus_PG.shape[1]
    kept = [(found, bonus_G, False) for found, bonus_G in zip(collected.batch, bonus_PG.tolist(), strict=True)]
    return tuple(
        CompletionRecord(
            step=step,
            slot=found.slot.index,
            round=found.slot.round,
            replaced=replaced,
            index=index,
            sample_id=found.slot.sample.sample_id,
            response=completion.text,
            extracted=scored.answer.letter,
            gold=found.slot.sample.gold,
            rewarded=scored.rewarded,
            reward=scored.reward + bonus,
            accuracy=scored.accuracy,
            format=scored.format,
            consistency=scored.consistency,
            consistency_reason=scored.consistency_reason,
            length=scored.length,
            bonus=bonus,
            echo=health(completion.text).echo,
            reason=scored.answer.reason,
            tokens=len(completion.token_ids),
            truncated=completion.truncated,
            custom=scored.custom,
        )
        for found, bonus_G, replaced in [*kept, *((found, none, True) for found in collected.replaced)]
        for index, (completion, scored, bonus) in enumerate(
            zip(found.group.completions, found.scores_G, bonus_G, strict=True)
        )
    )


def combine(done: Done, parts: Sequence[ProcessStep]) -> GrpoMetrics:
    """Join the processes of one step."""
    rows = [record for part in parts for record in part.completions]
    groups: dict[tuple[int, int, bool], list[float]] = {}
    for row in rows:
        groups.setdefault((row.slot, row.round, row.replaced), []).append(row.reward)
    silent = {key: max(rewards) == min(rewards) for key, rewards in groups.items()}
    batches = [batch for part in parts for batch in part.batches]
    by_token = [batch.loss.tokens for batch in batches]
    weights = [batch.loss.importance_mean for batch in batches if batch.loss.importance_mean is not None]
    capped = [batch.loss.importance_capped for batch in batches if batch.loss.importance_capped is not None]
    custom = [dict(row.custom) for row in rows]
    kls = [batch.loss.kl for batch in batches if batch.loss.kl is not None]
    tokens = sum(row.tokens for row in rows)
    return GrpoMetrics(
        step=done.step,
        epoch=done.epoch,
        reward_mean=_mean(row.reward for row in rows),
        reward_std=_mean(statistics.stdev(rewards) for rewards in groups.values()),
        accuracy=_mean(row.accuracy for row in rows),
        accuracy_rewarded=_mean(row.extracted == row.rewarded for row in rows),
        flipped_share=_mean(row.rewarded != row.gold for row in rows),
        silent_groups=_mean(silent.values()),
        replaced_groups=sum(replaced for _, _, replaced in groups),
        silent_in_batch=_mean(value for (_, _, replaced), value in silent.items() if not replaced),
        rollout_rounds=1 + max(row.round for row in rows),
        bonus_mean=_mean(row.bonus for row in rows),
        format_rate=_mean(row.format for row in rows),
        consistency_rate=_mean(row.consistency == 1 for row in rows),
        contradiction_rate=_mean(row.consistency == 0 for row in rows),
        length_mean=_mean(row.length for row in rows),
        echo_rate=_mean(row.echo for row in rows),
        tokens_mean=_mean(row.tokens for row in rows),
        tokens_max=max(row.tokens for row in rows),
        truncated_share=_mean(row.truncated for row in rows),
        loss=sum(batch.loss.loss for batch in batches) / (len(parts) * len(parts[0].grad_norms)),
        kl=_weighted(kls, by_token) if kls else None,
        entropy=_weighted([batch.entropy for batch in batches], by_token),
        ratio_mean=_weighted([batch.loss.ratio_mean for batch in batches], by_token),
        clip_fraction=_weighted([batch.loss.clip_fraction for batch in batches], by_token),
        rollout_mismatch=_weighted([batch.mismatch for batch in batches], by_token),
        grad_norm=_mean(parts[0].grad_norms),
        learning_rate=done.learning_rate,
        tokens_per_second=tokens / done.seconds["step"],
        validation_accuracy=done.seen.accuracy,
        seconds=done.seconds["step"],
        seconds_frames=done.seconds["frames"],
        seconds_rollout=done.seconds["rollout"],
        seconds_reward=done.seconds["reward"],
        seconds_reference=done.seconds["reference"],
        seconds_update=done.seconds["update"],
        seconds_validation=done.seconds["validation"],
        importance_mean=_weighted(weights, by_token) if weights else None,
        importance_capped=_weighted(capped, by_token) if capped else None,
        guard=dict(done.guard),
        custom={name: _mean(values[name] for values in custom) for name in custom[0]},
        tokens_trained=sum(by_token),
        processes=len(parts),
    )


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(float(value) for value in values)


def _weighted(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / total if total else 0.0
