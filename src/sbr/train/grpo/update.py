"""The second half of a GRPO step on one process: scored groups -> microbatches -> an optimizer update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from accelerate.utils import gather_object
from torch import Tensor

from sbr.algo.algorithm import Algorithm
from sbr.algo.loss import LossInputs, token_mean
from sbr.model.modes import evaluating
from sbr.train.gradients import accumulate, apply_gradients, mean_over_processes
from sbr.train.grpo.metrics import BatchFigures
from sbr.train.trainer import FixedPolicy, Trainer
from sbr.types import Completion, Prompt, RolloutGroup


@dataclass(frozen=True, slots=True, eq=False)
class Microbatch:
    """Some groups, or a part of one, and what is known of them.  Completions of a prompt share one computation of it.

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
    most: int | None = None,
) -> tuple[Microbatch, ...]:
    """Split the process's groups into microbatches of `size` groups and score them under the reference, if any.

    With `most` a microbatch is a part of one group, of at most so many completions.

    Groups whose gradient is exactly zero are left out (`Algorithm.silent_groups_teach`); their rows and tokens still
    count in those of the update.
    Some of them stay where another process has more to do, because processes have to run the same number of passes, and
    one stays everywhere: a gradient of zero moves the weights (AdamW's momentum) where no gradient would not.

    All log-probabilities are those of the policy that sampled, at its temperature (`Policy.temperature`).  With several
    `updates` per rollout the old log-probabilities are computed here too, by the training pass; the
    sampler's own differ by rounding, which the ratio would take for a change of policy.  With one update the ratio is 1
    by definition and nothing has to be computed.
    """
    old_policy = partial(nullcontext, trainer.plain) if updates > 1 else None
    rows, tokens = mean_over_processes(
        trainer,
        sum(len(group.completions) for group in groups),
        sum(len(completion.token_ids) for group in groups for completion in group.completions),
    )
    device = trainer.accelerator.device
    batches = []
    for parts in _parts(_taught(algorithm, advantages_PG), len(groups[0].completions), size, most):
        prompts = tuple(groups[p].prompt for p, _ in parts)
        chosen_PG = [groups[p].completions[part] for p, part in parts]
        completions_PG = tuple(tuple(completion.token_ids for completion in chosen_G) for chosen_G in chosen_PG)
        batches.append(
            Microbatch(
                prompts=prompts,
                completions_PG=completions_PG,
                advantages_B=torch.cat([advantages_PG[p, part] for p, part in parts]).to(device),
                rollout_logprobs_BL=padded_logprobs([c for chosen_G in chosen_PG for c in chosen_G]).to(device),
                update_rows=rows,
                update_tokens=tokens,
                ref_logprobs_BL=_fixed_logprobs(trainer.reference, prompts, completions_PG),
                old_logprobs_BL=_fixed_logprobs(old_policy, prompts, completions_PG),
            )
        )
    return tuple(batches)


def _parts(taught: Sequence[int], group_size: int, size: int, most: int | None) -> Iterator[list[tuple[int, slice]]]:
    """Which groups, and which of their completions, are in each microbatch."""
    if most is None:
        for start in range(0, len(taught), size):
            yield [(p, slice(None)) for p in taught[start : start + size]]
        return
    for p in taught:
        for start in range(0, group_size, most):
            yield [(p, slice(start, start + most))]


def update(
    trainer: Trainer, algorithm: Algorithm, batches: Sequence[Microbatch], max_grad_norm: float, step: int
) -> tuple[tuple[BatchFigures, ...], float]:
    """One optimizer update over all microbatches; return their figures and the gradient norm before clipping.

    Raises NotFiniteError when the gradient is not finite; the weights are then left as they were.
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


def padded_logprobs(completions_B: Sequence[Completion]) -> Tensor:
    """Return rollout_logprobs_BL (float32), zeros after the end."""
    rows = [torch.tensor(completion.logprobs) for completion in completions_B]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _taught(algorithm: Algorithm, advantages_PG: Tensor) -> list[int]:
    """Which groups this process computes: those with a gradient, and as many others as the busiest process has more.

    All processes call it.
    """
    if algorithm.silent_groups_teach:
        return list(range(len(advantages_PG)))
    speaks = [bool(advantages_G.any()) for advantages_G in advantages_PG]
    wanted = max(1, *gather_object([sum(speaks)]))
    silent = [p for p, speaks_p in enumerate(speaks) if not speaks_p]
    return sorted([p for p, speaks_p in enumerate(speaks) if speaks_p] + silent[: wanted - sum(speaks)])


@torch.no_grad()
def _fixed_logprobs(
    fixed: FixedPolicy | None, prompts: Sequence[Prompt], completions_PG: Sequence[Sequence[Sequence[int]]]
) -> Tensor | None:
    """Log-probabilities without gradient and without dropout; None without a policy."""
    if fixed is None:
        return None
    with fixed() as policy, evaluating(policy):
        return policy(prompts, completions_PG).logprobs_BL
