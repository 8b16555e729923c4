"""What the ledger notes, against arithmetic and against torch's own tracker."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from sbr.plan.ledger import FAKE, Ledger, hollow


def noted() -> Ledger:
    return Ledger(lambda func, tensor: "made")


def test_the_peak_of_a_chain_and_its_operations() -> None:
    rows, weight = hollow((10, 20), torch.float32), hollow((20, 30), torch.float32)
    ledger = noted()
    ledger.add("given", [rows, weight])
    with ledger:
        product = rows @ weight  # 1,200 bytes
        doubled = product * 2
        del product
        whole = doubled.sum()
    assert ledger.peak == {"given": 4 * (200 + 600), "made": 2 * 1200}
    assert ledger.live["made"] == 1200 + 4
    assert ledger.operations == 2 * 10 * 20 * 30
    del doubled, whole
    assert ledger.live["made"] == 0


def test_a_new_start_forgets_the_peak_but_not_what_lives() -> None:
    with noted() as ledger:
        kept = hollow((5,), torch.float64) + 1
        hollow((100,), torch.float64).exp()
        ledger.restart()
    assert ledger.peak["made"] == 40 == kept.nbytes
    assert ledger.operations == 0


def test_content_that_is_asked_for_is_one_and_indices_stay_real() -> None:
    numbers, mask = hollow((4, 3), torch.float32), torch.tensor([True, False, True, True])
    with noted():
        assert float(numbers.sum()) == 1.0
        assert numbers[mask].shape == (3, 3)
        assert mask.nonzero().tolist() == [[0], [2], [3]]


def test_storage_that_is_given_back_and_taken_again_counts_as_gathered() -> None:
    with noted() as ledger:
        whole = torch.empty(8)
        whole.untyped_storage().resize_(0)
        assert ledger.live["made"] == 0
        whole.untyped_storage().resize_(32)
        assert ledger.live == {"made": 0, "gathered": 32}


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_counts_what_it_needs(is_causal: bool) -> None:
    query, key = hollow((1, 4, 6, 16), torch.float32), hollow((1, 4, 6, 16), torch.float32)
    with noted() as ledger:
        nn.functional.scaled_dot_product_attention(query, key, key, is_causal=is_causal)
    assert ledger.operations == 2 * 2 * 4 * (21 if is_causal else 36) * 16


def test_the_peak_of_a_training_pass_is_that_of_torchs_tracker() -> None:
    def made() -> tuple[nn.Module, torch.Tensor]:
        with FAKE:
            layers = [nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.LayerNorm(64), nn.Linear(64, 1000)]
            return nn.Sequential(*layers), torch.empty(50, 64)

    model, rows = made()
    ledger = noted()
    ledger.add("weights", model.parameters())
    with ledger:
        model(rows).log_softmax(-1).sum().backward()
    model, rows = made()
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        model(rows).log_softmax(-1).sum().backward()
    (found,) = tracker.get_tracker_snapshot("peak").values()
    assert sum(ledger.peak.values()) == found["Total"]
