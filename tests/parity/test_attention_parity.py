"""Recorded attention against the eager attention weights of plain transformers on prompt + completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from plain_transformers import inputs

from sbr.config.inputs import PromptConfig
from sbr.model import record_attention
from sbr.model.load import load_processor
from sbr.model.record_attention import IMAGE, OWN, TEXT, VIDEO, AttentionRecorder, RecordedAttention
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.prompt.encode import PromptEncoder
from sbr.types import Prompt

LAYERS = (0, 1, 2)
COMPLETIONS_PG = [[[5, 6, 7, 8, 9], [10], []], [[11, 12, 13]], [[14, 15, 16, 17], [18, 19]], [[20, 21, 22]], [[23, 24]]]


@pytest.fixture(scope="module")
def all_prompts(tiny_model_dir, prompts, sbr_sample, sbr_frames) -> list[Prompt]:
    """Video and image, image, video and image; a video alone; words alone."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    token = encoder.size_factor
    frames = replace(sbr_frames(3, count=4, height=2 * token, width=3 * token, total=50), image_HWC=None)
    video = encoder.encode(replace(sbr_sample("3"), image=None), frames)
    words = prompts[1].mm_token_type_ids_S == 0
    text = replace(
        prompts[1],
        input_ids_S=prompts[1].input_ids_S[words],
        mm_token_type_ids_S=prompts[1].mm_token_type_ids_S[words],
        pixel_values=None,
        image_grid_thw=None,
    )
    return [*prompts, video, text]


def record(model, prompts, completions_PG, **settings) -> tuple[torch.Tensor, list[RecordedAttention]]:
    row = pack(model, prompts, completions_PG)
    recorder = AttentionRecorder(
        row, prompts, completions_PG, **({"share_layers": LAYERS, "map_layers": LAYERS} | settings)
    )
    with torch.no_grad():
        hidden = packed_hidden_states(model, prompts, row, layout=recorder)
    return hidden, recorder.recorded


def eager(plain, prompt: Prompt, completion: Sequence[int]) -> torch.Tensor:
    """(layers, heads, tokens, keys): rows of the tokens that predict the completion."""
    with torch.no_grad():
        found = plain(**inputs(prompt, completion), output_attentions=True).attentions
    return torch.cat(found)[:, :, len(prompt) - 1 : -1]


def test_shares_and_maps_equal_eager_attention(ours, plain, all_prompts) -> None:
    _, recorded = record(ours, all_prompts, COMPLETIONS_PG, map_layers=(1, 2))
    pairs = [(prompt, c) for prompt, group in zip(all_prompts, COMPLETIONS_PG, strict=True) for c in group]
    assert len(recorded) == len(pairs)
    errors = []
    for found, (prompt, completion) in zip(recorded, pairs, strict=True):
        if not completion:
            assert found.shares_lN4.shape == (3, 0, 4) and found.tokens_NV.shape == (0, sum(grids(prompt)))
            continue
        weights_lNX = eager(plain, prompt, completion).mean(1)
        types = torch.cat([prompt.mm_token_type_ids_S, torch.full((len(completion),), 3)])
        for kind, part in ((2, VIDEO), (1, IMAGE), (0, TEXT), (3, OWN)):
            expected = weights_lNX[:, :, types == kind].sum(-1)
            errors.append(float((found.shares_lN4[..., part] - expected).abs().max()))
        visual = [*(types == 2).nonzero().flatten(), *(types == 1).nonzero().flatten()]
        expected = weights_lNX[1:].mean(0)[:, visual]
        assert found.tokens_NV.shape == expected.shape == (len(completion), sum(grids(prompt)))
        errors.append(float((found.tokens_NV - expected).abs().max()) if visual else 0.0)
        torch.testing.assert_close(found.shares_lN4.sum(-1), torch.ones(3, len(completion)), rtol=0, atol=1e-5)
    print(f"attention weights, float32: largest difference {max(errors):.1e}")
    assert max(errors) <= 1e-5


def grids(prompt: Prompt) -> list[int]:
    """Visual tokens of the video and of the image."""
    found = [grid for grid in (prompt.video_grid_thw, prompt.image_grid_thw) if grid is not None]
    return [int(grid.prod()) // 4 for grid in found]


def test_the_pass_is_the_one_without_a_recorder(ours, all_prompts) -> None:
    row = pack(ours, all_prompts, COMPLETIONS_PG)
    with torch.no_grad():
        expected = packed_hidden_states(ours, all_prompts, row)
    hidden, _ = record(ours, all_prompts, COMPLETIONS_PG)
    assert torch.equal(hidden[row.read], expected[row.read])


@pytest.mark.parametrize("scores", [1, 700])
def test_few_rows_at_a_time_change_nothing(ours, all_prompts, monkeypatch, scores) -> None:
    _, whole = record(ours, all_prompts, COMPLETIONS_PG)
    monkeypatch.setattr(record_attention, "SCORES", scores)
    _, parts = record(ours, all_prompts, COMPLETIONS_PG)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.shares_lN4, other.shares_lN4, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.tokens_NV, other.tokens_NV, rtol=0, atol=1e-6)


def test_chosen_heads_and_layers(ours, plain, all_prompts) -> None:
    """Each layer and head alone, so that none is taken for another."""
    prompt, completion = all_prompts[0], COMPLETIONS_PG[0][0]
    weights = eager(plain, prompt, completion)[..., : len(prompt)][..., prompt.mm_token_type_ids_S > 0]
    for layer, head in product(LAYERS, range(4)):
        settings = {"share_layers": (), "map_layers": (layer,), "heads": (head,)}
        _, (found,) = record(ours, [prompt], [[completion]], **settings)
        torch.testing.assert_close(found.tokens_NV, weights[layer, head], rtol=0, atol=1e-5)
        assert found.shares_lN4.shape == (0, len(completion), 4)


def test_sixteen_bits_are_scored_in_float32(ours, all_prompts) -> None:
    _, exact = record(ours, all_prompts, COMPLETIONS_PG)
    _, rounded = record(ours.bfloat16(), all_prompts, COMPLETIONS_PG)
    for one, other in zip(exact, rounded, strict=True):
        assert other.tokens_NV.dtype == torch.float32
        torch.testing.assert_close(other.shares_lN4.sum(-1), torch.ones_like(one.shares_lN4[..., 0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(one.shares_lN4, other.shares_lN4, rtol=0, atol=0.05)


def test_a_recorder_of_another_row_is_refused(ours, all_prompts) -> None:
    row = pack(ours, all_prompts, COMPLETIONS_PG)
    with pytest.raises(ValueError, match="not packed of these"):
        AttentionRecorder(row, all_prompts[:2], COMPLETIONS_PG[:2], LAYERS, LAYERS)
