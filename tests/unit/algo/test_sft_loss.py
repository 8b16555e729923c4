"""The SFT loss against its formula in numpy."""

from __future__ import annotations

import numpy as np
import torch

from sbr.algo.sft import sft_loss


def test_parts_of_a_step_add_up_to_the_mean_over_its_tokens() -> None:
    draw = np.random.default_rng(0)
    logprobs_BL = -draw.random((5, 7)) * 4
    lengths_B = np.array([7, 1, 0, 4, 5])
    mask_BL = np.arange(7) < lengths_B[:, None]
    expected = -logprobs_BL[mask_BL].mean()
    logprobs_BL[~mask_BL] = np.nan  # never used

    found_BL = torch.tensor(logprobs_BL, requires_grad=True)
    tokens = int(lengths_B.sum())
    whole = sft_loss(found_BL, torch.tensor(mask_BL), tokens)
    parts = [sft_loss(found_BL[rows], torch.tensor(mask_BL[rows]), tokens) for rows in (slice(2), slice(2, 5))]
    assert abs(whole.item() - expected) < 1e-12
    assert abs(sum(part.item() for part in parts) - expected) < 1e-12
    (gradient,) = torch.autograd.grad(whole, found_BL)
    np.testing.assert_allclose(gradient.numpy(), np.where(mask_BL, -1 / tokens, 0.0), atol=1e-15)
