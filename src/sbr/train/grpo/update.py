"""The second half of a GRPO step on one process: scored groups -> microbatches -> an optimizer update."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sbr.algo.algorithm import Algorithm
from sbr.algo.loss import LossInputs, token_mean
from sbr.model.logprobs import completion_logprobs
from sbr.model.modes import evaluating
from sbr.train.gradients import accumulate, apply_gradients, mean_over_processes
from sbr.train.grpo.metrics import BatchFigures
from sbr.train.trainer import FixedModel, Trainer
from sbr.types import Prompt, RolloutGroup


@dataclass(frozen=True, slots=True, eq=False)
class Microbatch:
    """Some groups and what is known of them.  A group is never split: its completions share one prompt computation.

    B and L as in `CompletionLogprobs`: B = prompts * group size, L the longest completion among them.
    """

    prompts: tuple[Prompt, ...]
    completions_PG: tuple[tuple[tuple[int, ...], ...], ...]
    advantages_B: Tensor
    rollout_logprobs_BL: Tensor
    """What the sampler reported; 0 at padding."""
    update_rows: float
    update_tokens: float
    """Of the whole update, a process on average (`LossInputs`)."""
    ref_logprobs_BL: Tensor | None
    old_logprobs_BL: Tensor | None
    """None when there is one update per rollout: then the policy that sampled is the policy at hand."""


def make_microbatches(
    trainer: Trainer,
    algorithm: Algorithm,
    groups: Sequence[RolloutGroup],
    advantages_PG: Tensor,
    size: int,
    updates: int,
    temperature: float = 1.0,
) -> tuple[Microbatch, ...]:
    """Split the process's groups into microbatches of `size` groups and score them under the reference, if any.

    Groups whose gradient is exactly zero are left out (`Algorithm.silent_groups_teach`); their rows and tokens still
    count in those of the update.
    When no other is left one stays: under data parallelism every process has to run a backward pass, and a gradient of
    zero moves the weights (AdamW's momentum) where no gradient would not.  Processes may so differ in their number of
    passes, which sharded training would not allow.

    `temperature` is that of the rollouts: all log-probabilities are those of the policy that sampled.  With several
    `updates` per rollout the old log-probabilities are computed here too, by the training pass; the
    sampler's own differ by rounding, which the ratio would take for a change of policy.  With one update the ratio is 1
    by definition and nothing has to be computed.
    """
    old_policy = partial(nullcontext, trainer.model) if updates > 1 else None
    rows, tokens = mean_over_processes(
        trainer,
        sum(len(group.completions) for group in groups),
        sum(len(completion.token_ids) for group in groups for completion in group.completions),
    )
    fixed_logprobs = partial(_fixed_logprobs, trainer, temperature)
    taught = [p for p in range(len(groups)) if algorithm.silent_groups_teach or advantages_PG[p].any()] or [0]
    batches = []
    for start in range(0, len(taught), size):
        chosen = taught[start : start + size]
        part = [groups[p] for p in chosen]
        prompts = tuple(group.prompt for group in part)
        completions_PG = tuple(tuple(completion.token_ids for completion in group.completions) for group in part)
        batches.append(
            Microbatch(
                prompts=prompts,
                completions_PG=completions_PG,
                advantages_B=advantages_PG[chosen].flatten().to(trainer.accelerator.device),
                rollout_logprobs_BL=padded_logprobs(part).to(trainer.accelerator.device),
                update_rows=rows,
                update_tokens=tokens,
                ref_logprobs_BL=fixed_logprobs(trainer.reference, prompts, completions_PG),
                old_logprobs_BL=fixed_logprobs(old_policy, prompts, completions_PG),
            )
        )
    return tuple(batches)


def update(
    trainer: Trainer, algorithm: Algorithm, batches: Sequence[Microbatch], max_grad_norm: float, step: int
) -> tuple[tuple[BatchFigures, ...], float]:
    """One optimizer update over all microbatches; return their figures and the gradient norm before clipping.

    Raises SbrError when the gradient is not finite; the weights are then left as they were.
    """

    def loss_of(batch: Microbatch) -> tuple[Tensor, BatchFigures]:
        found = trainer.policy(batch.prompts, batch.completions_PG)
        detached_BL = found.logprobs_BL.detach()
        old_BL = detached_BL if batch.old_logprobs_BL is None else batch.old_logprobs_BL
        loss, metrics = algorithm.loss(
            LossInputs(
                logprobs_BL=found.logprobs_BL,
                old_logprobs_BL=old_BL,
                ref_logprobs_BL=batch.ref_logprobs_BL,
                mask_BL=found.mask_BL,
                advantages_B=batch.advantages_B,
                group_size=len(batch.completions_PG[0]),
                update_rows=batch.update_rows,
                update_tokens=batch.update_tokens,
                rollout_logprobs_BL=batch.rollout_logprobs_BL,
            )
        )
        entropy = token_mean(found.entropy_BL, found.mask_BL)
        mismatch = token_mean((old_BL - batch.rollout_logprobs_BL).abs(), found.mask_BL)
        return loss, BatchFigures(loss=metrics, entropy=entropy, mismatch=mismatch)

    figures = accumulate(trainer, batches, loss_of)
    return tuple(figures), apply_gradients(trainer, max_grad_norm, step)


def padded_logprobs(groups: Sequence[RolloutGroup]) -> Tensor:
    """Return rollout_logprobs_BL (float32) of the completions, rows p0g0, p0g1, ..., zeros after the end."""
    rows = [torch.tensor(completion.logprobs) for group in groups for completion in group.completions]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _fixed_logprobs(
    trainer: Trainer,
    temperature: float,
    fixed: FixedModel | None,
    prompts: Sequence[Prompt],
    completions_PG: Sequence[Sequence[Sequence[int]]],
) -> Tensor | None:
    """Log-probabilities without gradient and without dropout; None without a model."""
    if fixed is None:
        return None
    with torch.no_grad(), trainer.accelerator.autocast(), fixed() as model, evaluating(model):
        return completion_logprobs(model, prompts, completions_PG, temperature).logprobs_BL
