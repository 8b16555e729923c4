"""Attention of pieces in groups against attention with a dense mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sbr.model import vision
from sbr.model.vision import PictureLayout, Pieces

CPU = torch.device("cpu")


def heads(tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 1, 2, tokens, 8, generator=generator, dtype=torch.float64)
    return query, key, value


def masked(lengths: list[int]) -> torch.Tensor:
    piece = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    query, key, value = heads(sum(lengths))
    mask = piece[:, None] == piece
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3).transpose(1, 2)


@pytest.mark.parametrize("lengths", [[5], [4, 4, 4], [4, 2, 4, 1, 2, 4], [1, 1], [3, 7]])
def test_every_token_attends_to_its_own_piece(lengths, monkeypatch) -> None:
    calls = []

    def counted(*args, **kwargs):
        calls.append(args[0].shape)
        return scaled_dot_product_attention(*args, **kwargs)

    monkeypatch.setattr(vision, "scaled_dot_product_attention", counted)
    found = Pieces.of(lengths, CPU).attend(*heads(sum(lengths)), 0.3, 0.0)
    torch.testing.assert_close(found, masked(lengths), rtol=0, atol=1e-12)
    assert len(calls) == len(set(lengths))  # one a length, not one a piece


def test_windows_in_all_layers_but_the_whole_ones() -> None:
    pictures, windows = [6, 4], [4, 2, 4]
    layout = PictureLayout(Pieces.of(pictures, CPU), Pieces.of(windows, CPU), frozenset({1}))
    for layer, lengths in ((0, windows), (1, pictures), (2, windows)):
        torch.testing.assert_close(layout.attend(layer, *heads(10), 0.3, 0.0), masked(lengths), rtol=0, atol=1e-12)
    whole = PictureLayout(Pieces.of(pictures, CPU))
    torch.testing.assert_close(whole.attend(0, *heads(10), 0.3, 0.0), masked(pictures), rtol=0, atol=1e-12)
