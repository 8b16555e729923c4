"""The GRPO loss against a plain numpy loop, closed-form gradients and TRL's own loss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from loss_cases import LENGTH, ROWS, make_inputs, trl_loss

from sbr.algo.grpo import grpo_loss
from sbr.algo.loss import LossInputs
from sbr.config.algo import GrpoAlgo

PAPER = {key: getattr(GrpoAlgo(), key) for key in ("clip_low", "clip_high", "beta")}
NO_KL = {**PAPER, "beta": 0.0}


def numpy_loss(inputs: LossInputs, settings: dict[str, float]) -> dict[str, float]:
    """The formula of the docstring, token by token in plain Python."""
    assert inputs.ref_logprobs_BL is not None
    new = inputs.logprobs_BL.detach().numpy()
    old, ref = inputs.old_logprobs_BL.numpy(), inputs.ref_logprobs_BL.numpy()
    rows, kls, ratios, stopped = [], [], [], []
    for i, advantage in enumerate(inputs.advantages_B.tolist()):
        terms = []
        for t in np.flatnonzero(inputs.mask_BL[i].numpy()):
            ratio = math.exp(new[i, t] - old[i, t])
            clipped = min(max(ratio, 1 - settings["clip_low"]), 1 + settings["clip_high"])
            difference = min(max(ref[i, t] - new[i, t], -11.0), 11.0)
            kl = math.exp(difference) - difference - 1
            terms.append(min(ratio * advantage, clipped * advantage) - settings["beta"] * kl)
            kls.append(kl)
            ratios.append(ratio)
            stopped.append(min(ratio * advantage, clipped * advantage) != ratio * advantage)
        rows.append(sum(terms) / len(terms))
    return {
        "loss": -sum(rows) / len(rows),
        "kl": float(np.mean(kls)),
        "ratio_mean": float(np.mean(ratios)),
        "clip_fraction": float(np.mean(stopped)),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("settings", [PAPER, {**NO_KL, "clip_high": 0.28}, {**PAPER, "beta": 1.0}])
def test_equals_the_formula_in_numpy(seed, settings):
    inputs = make_inputs(seed)
    loss, metrics = grpo_loss(inputs, **settings)
    expected = numpy_loss(inputs, settings)
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-10)
    for name, value in expected.items():
        assert getattr(metrics, name) == pytest.approx(value, abs=1e-10)
    assert (metrics.rows, metrics.tokens) == (ROWS, int(inputs.mask_BL.sum()))


@pytest.mark.parametrize("settings", [PAPER, NO_KL, {**PAPER, "beta": 0.04, "clip_high": 0.28}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_trl_in_value_and_gradient(settings, dtype):
    for seed in range(3):
        ours, theirs = make_inputs(seed, dtype=dtype), make_inputs(seed, dtype=dtype)
        loss, _ = grpo_loss(ours, **settings)
        loss.backward()
        oracle = trl_loss(theirs, "grpo", "token", **settings)
        oracle.backward()
        assert loss.item() == pytest.approx(oracle.item(), abs=1e-6)
        torch.testing.assert_close(ours.logprobs_BL.grad, theirs.logprobs_BL.grad, atol=1e-6, rtol=0)


def test_gradient_on_policy_is_minus_advantage_over_length():
    inputs = make_inputs(3)
    inputs = replace(inputs, old_logprobs_BL=inputs.logprobs_BL.detach())
    loss, metrics = grpo_loss(inputs, **NO_KL)
    loss.backward()
    lengths_B1 = inputs.mask_BL.sum(1, keepdim=True)
    expected_BL = -inputs.advantages_B[:, None] / lengths_B1 / ROWS * inputs.mask_BL
    torch.testing.assert_close(inputs.logprobs_BL.grad, expected_BL, atol=1e-14, rtol=0)
    assert metrics.ratio_mean == 1.0
    assert metrics.clip_fraction == 0.0


def one_token(ratio: float, advantage: float) -> LossInputs:
    return LossInputs(
        logprobs_BL=torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True),
        old_logprobs_BL=torch.zeros(1, 1, dtype=torch.float64),
        ref_logprobs_BL=None,
        mask_BL=torch.ones(1, 1, dtype=torch.bool),
        advantages_B=torch.tensor([advantage], dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "stopped"),
    [
        (1.5, 2.0, -1.3 * 2.0, True),  # a good answer already much likelier: capped at 1 + clip_high
        (0.5, 2.0, -0.5 * 2.0, False),  # a good answer became unlikelier: full gradient
        (0.5, -2.0, 0.8 * 2.0, True),  # a bad answer already much unlikelier: capped at 1 - clip_low
        (1.5, -2.0, 1.5 * 2.0, False),  # a bad answer became likelier: full gradient
    ],
)
def test_clipping_stops_only_what_went_far_enough(ratio, advantage, loss, stopped):
    inputs = one_token(ratio, advantage)
    value, metrics = grpo_loss(inputs, clip_low=0.2, clip_high=0.3, beta=0.0)
    value.backward()
    assert value.item() == pytest.approx(loss, abs=1e-12)
    assert inputs.logprobs_BL.grad is not None
    assert inputs.logprobs_BL.grad.item() == pytest.approx(0.0 if stopped else -ratio * advantage, abs=1e-12)
    assert metrics.clip_fraction == float(stopped)
    assert metrics.kl is None


def test_padding_is_never_used_and_a_row_without_tokens_counts_as_zero():
    inputs = make_inputs(1)
    mask_BL = inputs.mask_BL.clone()
    mask_BL[2] = False
    clean, _ = grpo_loss(replace(inputs, mask_BL=mask_BL), **PAPER)

    def spoil(values_BL: torch.Tensor, value: float) -> torch.Tensor:
        return values_BL.detach().masked_fill(~mask_BL, value)

    assert inputs.ref_logprobs_BL is not None
    logprobs_BL = spoil(inputs.logprobs_BL, 1e4).requires_grad_()
    dirty, metrics = grpo_loss(
        LossInputs(
            logprobs_BL,
            spoil(inputs.old_logprobs_BL, -1e4),
            spoil(inputs.ref_logprobs_BL, math.nan),
            mask_BL,
            inputs.advantages_B,
        ),
        **PAPER,
    )
    dirty.backward()
    assert dirty.item() == clean.item()
    assert logprobs_BL.grad is not None
    assert bool(torch.isfinite(logprobs_BL.grad).all())
    assert logprobs_BL.grad[2].tolist() == [0.0] * LENGTH
    # The empty row still counts in the mean over rows: six rows, five with tokens.
    kept = [i for i in range(ROWS) if i != 2]
    rows = replace(
        inputs,
        logprobs_BL=inputs.logprobs_BL[kept],
        old_logprobs_BL=inputs.old_logprobs_BL[kept],
        ref_logprobs_BL=inputs.ref_logprobs_BL[kept],
        mask_BL=mask_BL[kept],
        advantages_B=inputs.advantages_B[kept],
    )
    five, _ = grpo_loss(rows, **PAPER)
    assert clean.item() == pytest.approx(five.item() * 5 / 6, abs=1e-12)
    assert metrics.rows == ROWS


def test_no_tokens_at_all_gives_zero_loss_and_zero_gradient():
    inputs = replace(make_inputs(0), mask_BL=torch.zeros(ROWS, LENGTH, dtype=torch.bool))
    loss, metrics = grpo_loss(inputs, **PAPER)
    loss.backward()
    assert loss.item() == 0.0
    assert inputs.logprobs_BL.grad is not None
    assert inputs.logprobs_BL.grad.abs().max().item() == 0.0
    assert (metrics.tokens, metrics.kl, metrics.ratio_mean) == (0, 0.0, 0.0)


def test_kl_needs_a_reference():
    with pytest.raises(ValueError, match="ref_logprobs_BL"):
        grpo_loss(replace(make_inputs(0), ref_logprobs_BL=None), **PAPER)
