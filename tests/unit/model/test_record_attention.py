"""Recorded weights of queries and keys made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sbr.model import record_attention
from sbr.model.record_attention import IMAGE, OWN, TEXT, VIDEO, AttentionRecorder
from sbr.model.shared_prefix import GroupLayout, PackedRow
from sbr.types import Prompt

CPU = torch.device("cpu")
TYPES = [0, 2, 2, 2, 2, 0, 1, 0]  # words, four visual tokens of a video, one of an image between words
COMPLETIONS = [[1, 2, 3]]
S, N = len(TYPES), 3


def prompt(types: list[int] = TYPES) -> Prompt:
    ids = torch.zeros(len(types), dtype=torch.long)
    return Prompt("", ids, torch.tensor(types), None, None, None, None)


def row(query_groups: int = 1) -> PackedRow:
    group = GroupLayout.of(S, [N - 1], query_groups, CPU)
    none = torch.zeros(0, dtype=torch.long)
    return PackedRow(
        input_ids_1S=torch.zeros(1, S + N - 1, dtype=torch.long),
        position_ids_31S=torch.zeros(3, 1, S + N - 1, dtype=torch.long),
        groups_P=(group,),
        sizes=(S, N - 1),
        prompt_ends_P=torch.tensor([S - 1]),
        next_position_P=torch.tensor([S]),
        predicts=torch.tensor([S - 1, S, S + 1]),
        read=none,
    )


def record(query: torch.Tensor, key: torch.Tensor, **settings: Any) -> record_attention.RecordedAttention:
    packed = row(query.shape[1] // key.shape[1])
    recorder = AttentionRecorder(
        packed, [prompt()], [COMPLETIONS], **({"share_layers": (0,), "map_layers": (0,)} | settings)
    )
    value = torch.randn(key.shape)
    out = recorder.attend(0, query, key, value, 1.0, 0.0)
    assert torch.equal(out, packed.attend(0, query, key, value, 1.0, 0.0))
    (found,) = recorder.recorded
    return found


def test_queries_of_zero_look_at_all_keys_alike() -> None:
    found = record(torch.zeros(1, 1, S + N - 1, 4), torch.randn(1, 1, S + N - 1, 4))
    for n in range(N):
        keys = S + n
        expected = torch.zeros(4)
        expected[VIDEO], expected[IMAGE], expected[TEXT], expected[OWN] = 4 / keys, 1 / keys, 3 / keys, n / keys
        torch.testing.assert_close(found.shares_lN4[0, n], expected)
        torch.testing.assert_close(found.tokens_NV[n], torch.full((5,), 1 / keys))


def test_one_key_that_is_three_times_as_likely_in_one_head_of_four() -> None:
    """Two query heads a key head; only head 3, of the second key head, tells keys apart."""
    query, key = torch.zeros(1, 4, S + N - 1, 2), torch.zeros(1, 2, S + N - 1, 2)
    query[:, 3, :, 0] = 1.0
    key[:, 1, 6, 0] = math.log(3)  # the image
    found = record(query, key)
    torch.testing.assert_close(found.tokens_NV[0, 4], torch.tensor(3 * (1 / 8) / 4 + (3 / 10) / 4))
    torch.testing.assert_close(found.shares_lN4[0, 0, IMAGE], found.tokens_NV[0, 4])
    alone = record(query, key, heads=(3,))
    torch.testing.assert_close(alone.tokens_NV[0], torch.tensor([0.1, 0.1, 0.1, 0.1, 0.3]))
    torch.testing.assert_close(record(query, key, heads=(0, 1, 2)).tokens_NV[0], torch.full((5,), 1 / 8))


@pytest.mark.parametrize("scores", [1, 20, 1 << 22])
def test_shares_add_up_to_one_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch, scores: int) -> None:
    torch.manual_seed(0)
    query, key = 3 * torch.randn(1, 4, S + N - 1, 8), torch.randn(1, 2, S + N - 1, 8)
    whole = record(query, key)
    monkeypatch.setattr(record_attention, "SCORES", scores)
    found = record(query, key)
    torch.testing.assert_close(found.shares_lN4.sum(-1), torch.ones(1, N))
    torch.testing.assert_close(found.shares_lN4, whole.shares_lN4)
    torch.testing.assert_close(found.tokens_NV, whole.tokens_NV)
    torch.testing.assert_close(found.tokens_NV.sum(1), found.shares_lN4[0, :, [VIDEO, IMAGE]].sum(1))


def test_other_layers_are_not_recorded() -> None:
    packed = row()
    recorder = AttentionRecorder(packed, [prompt()], [COMPLETIONS], (3, 5), (5,))
    query = torch.zeros(1, 1, S + N - 1, 4)
    recorder.attend(0, query, query, query, 1.0, 0.0)
    assert not recorder.recorded[0].shares_lN4.any()
    recorder.attend(5, query, query, query, 1.0, 0.0)
    assert not recorder.recorded[0].shares_lN4[0].any()
    assert recorder.recorded[0].shares_lN4[1].all(0)[:3].all()
    assert recorder.recorded[0].tokens_NV.all()
