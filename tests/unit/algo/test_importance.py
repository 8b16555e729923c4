"""Importance weights of every algorithm against plain numpy and TRL's own weights and losses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from loss_cases import GROUP, MAX_TOKENS, ROWS, make_inputs, trl_loss, trl_weights

from sbr.algo.loss import Importance, LossInputs, importance_weights
from sbr.algo.select import select
from sbr.config.algo import ALGORITHMS, ImportanceKind

KINDS = [kind for kind in get_args(ImportanceKind) if kind != "none"]
CAP = 1.3
TRL_MODES = {
    "token": "token_truncate",
    "completion": "sequence_truncate",
    "token_mask": "token_mask",
    "completion_mask": "sequence_mask",
}


def by_hand(inputs: LossInputs, kind: str, cap: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weight of each token of each row, and whether it was above the cap, one token after the other."""
    assert inputs.rollout_logprobs_BL is not None
    old, rollout = inputs.old_logprobs_BL.numpy(), inputs.rollout_logprobs_BL.numpy()
    weights, capped = [], []
    for i in range(len(old)):
        length = int(inputs.mask_BL[i].sum())
        ratios = [math.exp(old[i, t]) / math.exp(rollout[i, t]) for t in range(length)]
        if kind.startswith("completion"):
            ratios = [math.prod(ratios)] * length
        above = [ratio > cap for ratio in ratios]
        weights.append(
            np.array([(0.0 if "mask" in kind else cap) if a else r for r, a in zip(ratios, above, strict=True)])
        )
        capped.append(np.array(above))
    return weights, capped


def loss_by_hand(name: str, inputs: LossInputs, settings: Any, weights: list[np.ndarray]) -> float:
    """The formula of each algorithm with a weight on every token, token by token."""
    assert inputs.ref_logprobs_BL is not None
    new, old = inputs.logprobs_BL.detach().numpy(), inputs.old_logprobs_BL.numpy()
    ref = inputs.ref_logprobs_BL.numpy()
    low, high = getattr(settings, "clip_low", 0.0), getattr(settings, "clip_high", 0.0)
    beta = getattr(settings, "beta", 0.0)
    rho_B = np.array([(new - old)[i, : len(weights[i])].sum() for i in range(ROWS)])
    total = 0.0
    for i, advantage in enumerate(inputs.advantages_B.tolist()):
        length = len(weights[i])
        group = rho_B[i // GROUP * GROUP : i // GROUP * GROUP + GROUP]
        terms = []
        for t in range(length):
            ratio = math.exp(rho_B[i] / length if name == "gspo" else new[i, t] - old[i, t])
            objective = min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
            if name == "reg_grpo":
                predicted = (rho_B[i] - group.mean()) / (group.std(ddof=1) + settings.advantage_eps)
                objective = -((advantage - predicted) ** 2)
            difference = ref[i, t] - new[i, t]
            terms.append(weights[i][t] * objective - beta * (math.exp(difference) - difference - 1))
        divisor = {"dr_grpo": ROWS * MAX_TOKENS, "dapo": int(inputs.mask_BL.sum())}.get(name, ROWS * length)
        total -= sum(terms) / divisor
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_equals_its_formula_with_weights(name, kind):
    settings = ALGORITHMS[name](importance=kind, importance_cap=CAP, **({"beta": 0.3} if name == "gspo" else {}))
    loss_of = select(settings, MAX_TOKENS).loss
    seen = set()
    for seed in range(3):
        inputs = make_inputs(seed)
        weights, capped = by_hand(inputs, kind, CAP)
        seen |= set(np.concatenate(capped))
        loss, metrics = loss_of(inputs)
        assert loss.item() == pytest.approx(loss_by_hand(name, inputs, settings, weights), abs=1e-10)
        assert metrics.importance_mean == pytest.approx(np.concatenate(weights).mean(), abs=1e-12)
        assert metrics.importance_capped == pytest.approx(np.concatenate(capped).mean(), abs=1e-12)
    assert seen == {True, False}  # or the cap was not tried


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_trl(kind):
    for seed in range(5):
        inputs = make_inputs(seed)
        ours = importance_weights(inputs, Importance(kind, CAP))
        assert ours is not None
        theirs = trl_weights(inputs, TRL_MODES[kind], CAP)
        assert ours.used.shape == theirs.shape
        torch.testing.assert_close(ours.used, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "loss_type", "level"),
    [
        ("grpo", "grpo", "token"),
        ("dr_grpo", "dr_grpo", "token"),
        ("dapo", "dapo", "token"),
        ("gspo", "grpo", "sequence"),
    ],
)
def test_weighted_losses_equal_trl_in_value_and_gradient(name, loss_type, level, kind):
    settings: Any = ALGORITHMS[name](importance=kind, importance_cap=CAP)
    ours, theirs = make_inputs(1), make_inputs(1)
    loss, _ = select(settings, MAX_TOKENS).loss(ours)
    loss.backward()
    weights = trl_weights(theirs, TRL_MODES[kind], CAP)
    clip = {"clip_low": settings.clip_low, "clip_high": settings.clip_high}
    oracle = trl_loss(theirs, loss_type, level, **clip, beta=getattr(settings, "beta", 0.0), weights=weights)
    oracle.backward()
    assert loss.item() == pytest.approx(oracle.item(), abs=1e-6)
    torch.testing.assert_close(ours.logprobs_BL.grad, theirs.logprobs_BL.grad, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_without_correction_what_the_sampler_reports_changes_nothing(name):
    loss_of = select(ALGORITHMS[name](), MAX_TOKENS).loss
    inputs, other = make_inputs(2), replace(make_inputs(2), rollout_logprobs_BL=None)
    (one, metrics), (two, _) = loss_of(inputs), loss_of(other)
    one.backward()
    two.backward()
    assert one.item() == two.item()
    assert torch.equal(inputs.logprobs_BL.grad, other.logprobs_BL.grad)  # type: ignore[arg-type]
    assert (metrics.importance_mean, metrics.importance_capped) == (None, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_exact_sampler_is_weighted_by_one(name, kind):
    inputs = make_inputs(3)
    inputs = replace(inputs, rollout_logprobs_BL=inputs.old_logprobs_BL)
    plain, _ = select(ALGORITHMS[name](), MAX_TOKENS).loss(inputs)
    same, metrics = select(ALGORITHMS[name](importance=kind), MAX_TOKENS).loss(inputs)
    assert same.item() == pytest.approx(plain.item(), abs=1e-14)
    assert (metrics.importance_mean, metrics.importance_capped) == (1.0, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_no_gradient_padding_no_weight_and_impossible_tokens_a_finite_one(kind):
    inputs = make_inputs(4)
    padding_BL = ~inputs.mask_BL
    assert inputs.rollout_logprobs_BL is not None
    clean = importance_weights(inputs, Importance(kind, CAP))
    dirty = importance_weights(
        replace(
            inputs,
            old_logprobs_BL=inputs.logprobs_BL.masked_fill(padding_BL, 50.0),
            rollout_logprobs_BL=inputs.rollout_logprobs_BL.masked_fill(padding_BL, math.nan),
        ),
        Importance(kind, CAP),
    )
    assert clean is not None
    assert dirty is not None
    assert not dirty.used.requires_grad
    assert bool(torch.isfinite(dirty.used).all())
    # The sampler says that it could not have drawn these tokens.
    never = replace(inputs, rollout_logprobs_BL=torch.full_like(inputs.rollout_logprobs_BL, -math.inf))
    weights = importance_weights(never, Importance(kind, CAP))
    assert weights is not None
    expected = 0.0 if "mask" in kind else CAP
    assert weights.used.expand(inputs.mask_BL.shape)[inputs.mask_BL].unique().tolist() == [expected]


def test_weights_need_the_numbers_of_the_sampler():
    inputs = replace(make_inputs(0), rollout_logprobs_BL=None)
    with pytest.raises(ValueError, match="rollout_logprobs_BL"):
        importance_weights(inputs, Importance("token"))
