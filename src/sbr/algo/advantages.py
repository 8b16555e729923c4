"""Group-relative advantages: what a completion earned compared with the others of its prompt."""

from __future__ import annotations

from torch import Tensor

from sbr.errors import ConfigError


def group_advantages(rewards_PG: Tensor, eps: float) -> Tensor:
    """Return advantages_PG = (r - mean) / (std + eps), mean and std (ddof=1) over the G completions of a prompt.

    GRPO, arXiv 2402.03300, section 4.1.2, as in the official SEED-Bench-R1 trainer (arXiv 2503.24376; eps 1e-4).
    A group with equal rewards gets zeros: it carries no signal.  The result has the floating dtype of `rewards_PG`.

    Raises ConfigError for groups of one completion, which are always equal to their own mean.
    """
    centred_PG = centred_rewards(rewards_PG)
    return centred_PG / (rewards_PG.std(dim=1, correction=1, keepdim=True) + eps)


def centred_rewards(rewards_PG: Tensor) -> Tensor:
    """Return advantages_PG = r - mean, the mean over the G completions of a prompt: Dr. GRPO, arXiv 2503.20783.

    A group with equal rewards gets zeros.  Raises ConfigError for groups of one completion.
    """
    if rewards_PG.ndim != 2:
        raise ValueError(f"rewards_PG needs two axes (prompts, completions), got shape {tuple(rewards_PG.shape)}")
    if rewards_PG.shape[1] < 2:
        raise ConfigError(
            "rollout.group_size is 1, and GRPO compares a completion with the others of its prompt: a group of one "
            "has no signal; set rollout.group_size to 2 or more (the paper uses 8)"
        )
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    # Exactly zero, because the mean of eight times 0.1 need not be 0.1: such groups are left out of the backward pass.
    return centred_PG.masked_fill(silent_groups(rewards_PG)[:, None], 0.0)


def silent_groups(rewards_PG: Tensor) -> Tensor:
    """Return bool_P: True where all completions of a prompt earned the same, so that nothing can be learned from it.

    >>> silent_groups(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    tensor([False,  True])
    """
    return rewards_PG.amax(dim=1) == rewards_PG.amin(dim=1)
