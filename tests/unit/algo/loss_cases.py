"""Random inputs of a loss, and TRL's own losses on the same tensors."""

from __future__ import annotations

import inspect
import math
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sbr.algo.loss import LossInputs

ROWS, LENGTH, GROUP = 6, 9, 3
MAX_TOKENS = 12


def make_inputs(seed: int, spread: float = 0.3, dtype: torch.dtype = torch.float64) -> LossInputs:
    """Two groups of three rows of 1 to 9 tokens, log-probabilities around a common centre, as off policy."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    centre_BL = -noise(ROWS, LENGTH).abs() - 0.1
    lengths_B = torch.randint(1, LENGTH + 1, (ROWS,), generator=generator)
    lengths_B[0] = LENGTH
    return LossInputs(
        logprobs_BL=(centre_BL + spread * noise(ROWS, LENGTH)).requires_grad_(),
        old_logprobs_BL=centre_BL + spread * noise(ROWS, LENGTH),
        ref_logprobs_BL=centre_BL + spread * noise(ROWS, LENGTH),
        mask_BL=torch.arange(LENGTH)[None] < lengths_B[:, None],
        advantages_B=noise(ROWS),
        group_size=GROUP,
        rollout_logprobs_BL=centre_BL + spread * noise(ROWS, LENGTH),
    )


def trl_loss(
    inputs: LossInputs,
    loss_type: str,
    level: str,
    clip_low: float,
    clip_high: float,
    beta: float,
    tokens: float | None = None,
    processes: int = 1,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """TRL's own GRPOTrainer._compute_loss, run on given log-probabilities instead of a model's.

    `tokens` are those of the whole update over `processes` (default: those of `inputs`), `weights` importance weights
    (B, L) or (B, 1), see `trl_weights`.
    """
    grpo_trainer = pytest.importorskip("trl.trainer.grpo_trainer")
    logs: dict[str, list[float]] = {}

    class Logs(dict):
        def __missing__(self, key: str) -> list[float]:
            return logs.setdefault(key, [])

    rows, length = inputs.mask_BL.shape
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            inputs.logprobs_BL,
            torch.zeros_like(inputs.logprobs_BL),
            None,
        ),
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=processes),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        loss_type=loss_type,
        epsilon_low=clip_low,
        epsilon_high=clip_high,
        max_completion_length=MAX_TOKENS,
        use_vllm=weights is not None,
        vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics={"train": Logs()},
    )
    empty = torch.zeros(rows, 0, dtype=torch.long)
    batch = {
        "prompt_ids": empty,
        "prompt_mask": empty,
        "completion_ids": torch.zeros(rows, length, dtype=torch.long),
        "completion_mask": inputs.mask_BL.long(),
        "advantages": inputs.advantages_B,
        "old_per_token_logps": inputs.old_logprobs_BL,
        "ref_per_token_logps": inputs.ref_logprobs_BL,
        "importance_sampling_ratio": weights,
        "num_items_in_batch": torch.tensor(float(inputs.mask_BL.sum() if tokens is None else tokens)),
    }
    return grpo_trainer.GRPOTrainer._compute_loss(trainer, None, batch)


def trl_weights(inputs: LossInputs, mode: str, cap: float) -> torch.Tensor:
    """TRL's own importance weights (`vllm_importance_sampling_mode`), by the lines of GRPOTrainer that compute them."""
    grpo_trainer = pytest.importorskip("trl.trainer.grpo_trainer")
    source = inspect.getsource(grpo_trainer.GRPOTrainer._generate_and_score_completions)
    start = source.index("per_token_logps_diff = (")
    lines = source[source.rindex("\n", 0, start) + 1 : source.index("# Compute the per-token log probabilities for")]
    found: dict[str, Any] = {
        "torch": torch,
        "math": math,
        "mask": inputs.mask_BL.long(),
        "old_per_token_logps": inputs.old_logprobs_BL,
        "sampling_per_token_logps": inputs.rollout_logprobs_BL,
        "self": SimpleNamespace(
            vllm_importance_sampling_mode=mode,
            vllm_importance_sampling_clip_min=None,
            vllm_importance_sampling_clip_max=cap,
        ),
    }
    exec(textwrap.dedent(lines), found)
    return found["vllm_importance_sampling_ratio"]
