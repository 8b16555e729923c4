"""The losses of the family against the formulas of their papers in numpy, and TRL's own losses on the same tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import GROUP, LENGTH, MAX_TOKENS, ROWS, make_inputs, trl_loss

from sbr.algo.advantages import centred_rewards
from sbr.algo.dapo import dapo_loss
from sbr.algo.dr_grpo import dr_grpo_loss
from sbr.algo.gspo import gspo_loss
from sbr.algo.loss import LossInputs
from sbr.algo.reg_grpo import reg_grpo_loss
from sbr.algo.select import select
from sbr.config.algo import ALGORITHMS, DrGrpoAlgo

WIDE = {"clip_low": 0.2, "clip_high": 0.28}
NARROW = {"clip_low": 3e-4, "clip_high": 4e-4}

CASES: dict[str, tuple[Callable[..., Any], dict[str, float], tuple[str, str]]] = {
    "dr_grpo": (dr_grpo_loss, {**WIDE, "beta": 0.0, "max_tokens": MAX_TOKENS}, ("dr_grpo", "token")),
    "dr_grpo with KL": (dr_grpo_loss, {**WIDE, "beta": 0.3, "max_tokens": MAX_TOKENS}, ("dr_grpo", "token")),
    "dapo": (dapo_loss, WIDE, ("dapo", "token")),
    "gspo": (gspo_loss, {**NARROW, "beta": 0.0}, ("grpo", "sequence")),
    "gspo wide with KL": (gspo_loss, {**WIDE, "beta": 0.3}, ("grpo", "sequence")),
}


def rows_of(inputs: LossInputs) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """advantage, log ratios and k3 of each row, its own tokens only."""
    assert inputs.ref_logprobs_BL is not None
    new = inputs.logprobs_BL.detach().numpy()
    old, ref = inputs.old_logprobs_BL.numpy(), inputs.ref_logprobs_BL.numpy()
    rows = []
    for i, advantage in enumerate(inputs.advantages_B.tolist()):
        length = int(inputs.mask_BL[i].sum())
        difference = ref[i, :length] - new[i, :length]
        rows.append((advantage, (new - old)[i, :length], np.exp(difference) - difference - 1))
    return rows


def clipped(ratio: Any, advantage: float, low: float, high: float) -> Any:
    return np.minimum(ratio * advantage, np.clip(ratio, 1 - low, 1 + high) * advantage)


def by_formula(case: str, inputs: LossInputs, settings: dict[str, float]) -> float:
    rows, low, high = rows_of(inputs), settings.get("clip_low", 0), settings.get("clip_high", 0)
    beta = settings.get("beta", 0.0)
    if case.startswith("dr_grpo"):
        sums = [(clipped(np.exp(log), a, low, high) - beta * kl).sum() for a, log, kl in rows]
        return -float(np.mean(sums)) / MAX_TOKENS
    if case.startswith("dapo"):
        return -float(np.concatenate([clipped(np.exp(log), a, low, high) for a, log, _ in rows]).mean())
    if case.startswith("gspo"):
        return -float(
            np.mean(
                [
                    clipped(np.prod(np.exp(log)) ** (1 / len(log)), a, low, high) - beta * kl.mean()
                    for a, log, kl in rows
                ]
            )
        )
    total = 0.0
    for start in range(0, ROWS, GROUP):
        group = rows[start : start + GROUP]
        rho = np.array([log.sum() for _, log, _ in group])
        predicted = (rho - rho.mean()) / (rho.std(ddof=1) + settings["eps"])
        target = np.array([advantage for advantage, _, _ in group])
        total += ((target - predicted) ** 2).sum() + beta * sum(kl.mean() for _, _, kl in group)
    return total / ROWS


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES)
def test_equals_the_formula_in_numpy(case, seed):
    loss_of, settings, _ = CASES[case]
    inputs = make_inputs(seed)
    loss, metrics = loss_of(inputs, **settings)
    assert loss.item() == pytest.approx(by_formula(case, inputs, settings), abs=1e-10)
    assert metrics.loss == loss.item()
    assert (metrics.rows, metrics.tokens) == (ROWS, int(inputs.mask_BL.sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_equals_trl_in_value_and_gradient(case, dtype):
    loss_of, settings, (loss_type, level) = CASES[case]
    for seed in range(3):
        ours, theirs = make_inputs(seed, dtype=dtype), make_inputs(seed, dtype=dtype)
        loss, _ = loss_of(ours, **settings)
        loss.backward()
        clip = {"clip_low": settings["clip_low"], "clip_high": settings["clip_high"]}
        oracle = trl_loss(theirs, loss_type, level, **clip, beta=settings.get("beta", 0.0))
        oracle.backward()
        assert loss.item() == pytest.approx(oracle.item(), abs=1e-6)
        torch.testing.assert_close(ours.logprobs_BL.grad, theirs.logprobs_BL.grad, atol=1e-6, rtol=0)


def part(inputs: LossInputs, rows: slice, processes: int = 1) -> LossInputs:
    """Some rows, with the numbers of the whole update a process; a microbatch is no longer than its longest row."""
    mask_BL = inputs.mask_BL[rows]
    longest = int(mask_BL.sum(1).max())
    assert inputs.ref_logprobs_BL is not None
    return LossInputs(
        logprobs_BL=inputs.logprobs_BL[rows, :longest],
        old_logprobs_BL=inputs.old_logprobs_BL[rows, :longest],
        ref_logprobs_BL=inputs.ref_logprobs_BL[rows, :longest],
        mask_BL=mask_BL[:, :longest],
        advantages_B=inputs.advantages_B[rows],
        group_size=GROUP,
        update_rows=ROWS / processes,
        update_tokens=float(inputs.mask_BL.sum()) / processes,
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_microbatches_and_processes_add_up_to_the_whole_update(name):
    loss_of = select(ALGORITHMS[name](), MAX_TOKENS).loss
    whole, cut, shared = make_inputs(5), make_inputs(5), make_inputs(5)
    # The two groups have different numbers of tokens, or the test could not fail.
    assert int(whole.mask_BL[:GROUP].sum()) != int(whole.mask_BL[GROUP:].sum())
    loss, _ = loss_of(whole)
    loss.backward()
    halves = [slice(0, GROUP), slice(GROUP, ROWS)]
    sum(loss_of(part(cut, rows))[0] for rows in halves).backward()
    # Data parallelism averages the gradients of processes.
    (sum(loss_of(part(shared, rows, processes=2))[0] for rows in halves) / 2).backward()
    for other in (cut, shared):
        torch.testing.assert_close(other.logprobs_BL.grad, whole.logprobs_BL.grad, atol=1e-12, rtol=0)


def test_dapo_on_two_processes_is_what_trl_computes_there():
    ours, theirs = make_inputs(5), make_inputs(5)
    rows = slice(0, GROUP)
    mine, _ = dapo_loss(part(ours, rows, processes=2), **WIDE)
    whole_tokens = float(theirs.mask_BL.sum())
    oracle = trl_loss(part(theirs, rows), "dapo", "token", **WIDE, beta=0.0, tokens=whole_tokens, processes=2)
    assert mine.item() == pytest.approx(oracle.item(), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("settings", [{"beta": 0.0, "eps": 1e-4}, {"beta": 0.1, "eps": 1e-4}])
def test_reg_grpo_equals_the_formula_in_numpy(settings, seed):
    inputs = make_inputs(seed)
    loss, metrics = reg_grpo_loss(inputs, **settings)
    assert loss.item() == pytest.approx(by_formula("reg_grpo", inputs, settings), abs=1e-10)
    assert metrics.clip_fraction == 0.0
    assert metrics.ratio_mean == pytest.approx(np.mean(np.exp(np.concatenate([log for _, log, _ in rows_of(inputs)]))))


def test_reg_grpo_is_zero_where_the_log_ratios_predict_the_advantages():
    inputs = make_inputs(1)
    rho_PG = (
        (inputs.logprobs_BL - inputs.old_logprobs_BL).masked_fill(~inputs.mask_BL, 0).sum(1).view(-1, GROUP).detach()
    )
    centred_PG = rho_PG - rho_PG.mean(1, keepdim=True)
    solved = replace(inputs, advantages_B=(centred_PG / (rho_PG.std(1, keepdim=True) + 1e-4)).flatten())
    loss, _ = reg_grpo_loss(solved, beta=0.0, eps=1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-20)
    assert inputs.logprobs_BL.grad is not None
    assert inputs.logprobs_BL.grad.abs().max().item() < 1e-9


def test_reg_grpo_on_policy_is_a_policy_gradient():
    inputs = make_inputs(2)
    centred_PG = centred_rewards(inputs.advantages_B.view(-1, GROUP))
    inputs = replace(inputs, old_logprobs_BL=inputs.logprobs_BL.detach(), advantages_B=centred_PG.flatten())
    loss, _ = reg_grpo_loss(inputs, beta=0.0, eps=1e-4)
    loss.backward()
    expected_BL = -2 / 1e-4 * inputs.advantages_B[:, None] * inputs.mask_BL / ROWS
    torch.testing.assert_close(inputs.logprobs_BL.grad, expected_BL, atol=1e-6, rtol=1e-9)


def test_gspo_clips_whole_completions():
    inputs = replace(make_inputs(0), advantages_B=torch.ones(ROWS, dtype=torch.float64))
    loss, metrics = gspo_loss(inputs, **NARROW, beta=0.0)
    loss.backward()
    means_B = [log.mean() for _, log, _ in rows_of(inputs)]
    above = [math.exp(mean) > 1 + 4e-4 for mean in means_B]
    assert 0 < sum(above) < ROWS
    assert inputs.logprobs_BL.grad is not None
    assert (inputs.logprobs_BL.grad.abs().sum(1) == 0).tolist() == above
    lengths = [len(log) for _, log, _ in rows_of(inputs)]
    assert metrics.clip_fraction == pytest.approx(np.dot(above, lengths) / sum(lengths))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_padding_is_never_used_and_no_tokens_give_no_gradient(name):
    loss_of = select(ALGORITHMS[name](), MAX_TOKENS).loss
    inputs = make_inputs(3)
    padding_BL = ~inputs.mask_BL
    clean, _ = loss_of(inputs)
    assert inputs.ref_logprobs_BL is not None
    dirty_BL = inputs.logprobs_BL.detach().masked_fill(padding_BL, 1e4).requires_grad_()
    dirty, _ = loss_of(
        replace(
            inputs,
            logprobs_BL=dirty_BL,
            old_logprobs_BL=inputs.old_logprobs_BL.masked_fill(padding_BL, -1e4),
            ref_logprobs_BL=inputs.ref_logprobs_BL.masked_fill(padding_BL, math.nan),
        )
    )
    dirty.backward()
    assert dirty.item() == clean.item()
    assert dirty_BL.grad is not None
    assert bool(torch.isfinite(dirty_BL.grad).all())
    assert dirty_BL.grad[padding_BL].abs().max().item() == 0.0
    empty = replace(make_inputs(3), mask_BL=torch.zeros(ROWS, LENGTH, dtype=torch.bool))
    loss, _ = loss_of(empty)
    loss.backward()
    assert math.isfinite(loss.item())
    assert empty.logprobs_BL.grad is not None
    assert empty.logprobs_BL.grad.abs().max().item() == 0.0


def test_dr_grpo_advantages_are_centred_rewards():
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.1, 0.1]])
    algorithm = select(DrGrpoAlgo(), MAX_TOKENS)
    assert algorithm.advantages(rewards_PG).tolist() == [[0.5, -0.5, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]
