"""The k3 estimator against its definition and the exact divergence it estimates."""

import math

import pytest
import torch

from sbr.algo.kl import k3


def test_by_hand_and_never_negative():
    logprobs = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64)
    ref_logprobs = torch.tensor([-1.0, -1.0, -2.0], dtype=torch.float64)
    assert k3(logprobs, ref_logprobs).tolist() == pytest.approx([0.0, math.e - 2, math.exp(-1.5) + 0.5], abs=1e-15)


def test_expectation_is_the_kl_divergence():
    generator = torch.Generator().manual_seed(0)
    policy_V = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(0)
    reference_V = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(0)
    exact = torch.nn.functional.kl_div(reference_V, policy_V, log_target=True, reduction="sum")
    assert (policy_V.exp() * k3(policy_V, reference_V)).sum().item() == pytest.approx(exact.item(), abs=1e-12)


@pytest.mark.parametrize(("difference", "clamped"), [(11.5, 11.0), (-40.0, -11.0), (10.9, 10.9), (-10.9, -10.9)])
def test_difference_is_clamped_to_eleven(difference, clamped):
    logprobs = torch.tensor(-60.0, dtype=torch.float64, requires_grad=True)
    value = k3(logprobs, torch.tensor(-60.0 + difference, dtype=torch.float64))
    value.backward()
    assert value.item() == pytest.approx(math.exp(clamped) - clamped - 1, rel=1e-12)
    slope = 1 - math.exp(difference) if clamped == difference else 0.0
    assert logprobs.grad is not None
    assert logprobs.grad.item() == pytest.approx(slope, rel=1e-9)
