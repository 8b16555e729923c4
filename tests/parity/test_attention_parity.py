"""Recorded attention against the eager attention weights of plain transformers on prompt + completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from plain_transformers import inputs, logprobs

from sbr.analysis.attention import AttentionMeter
from sbr.config.attention import AttentionConfig
from sbr.config.inputs import PromptConfig
from sbr.model import record_attention
from sbr.model.load import load_processor
from sbr.model.record_attention import IMAGE, OWN, TEXT, VIDEO, AttentionRecorder, RecordedAttention
from sbr.model.shared_prefix import pack, packed_hidden_states
from sbr.prompt.encode import PromptEncoder, encode_chat
from sbr.types import EvalRecord, Prompt

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


def test_an_answer_looked_at_and_painted_over(tiny_model_dir, ours, plain, sbr_sample, sbr_frames) -> None:
    """Likelihood, maps, rankings and effects of the whole measurement against plain passes on painted patches."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    token, sample = encoder.size_factor, sbr_sample("0")
    frames = sbr_frames(0, count=4, height=2 * token, width=3 * token)
    prompt = encoder.encode(sample, frames)
    response = "<think>so open cupboard</think><answer>B</answer>"
    ids = encoder.tokenizer(response, add_special_tokens=False)["input_ids"]
    record_ = EvalRecord(
        **{"sample_id": "0", "level": "L1", "domain": "d", "sample_index": 0, "prompt": prompt.text},
        **{"options": sample.options, "response": response, "extracted": "B", "gold": "A", "correct": False},
        **{"rule": "official", "completion_tokens": len(ids) + 1, "truncated": False, "seconds": 0.0},
    )
    config = AttentionConfig(fractions=(0.1, 0.3), randoms=2)
    looked = AttentionMeter(ours.eval(), encoder, config).look(record_, sample, frames)
    found = looked.record
    assert (found.video_grid, found.image_grid, found.same_tokens) == ((2, 2, 3), (2, 3), True)
    assert (found.layers, found.map_layers) == ((0, 1, 2), (1,))
    assert "".join(found.tokens) == response + "<|im_end|>"

    visual = (prompt.mm_token_type_ids_S > 0).nonzero().flatten()
    maps_NV = eager(plain, prompt, [*ids, encoder.end_of_turn]).mean(1)[1][:, visual]
    np.testing.assert_allclose(looked.tokens_NV, maps_NV.numpy(), rtol=1e-3, atol=1e-6)  # float16
    messages = [
        {
            "role": "user",
            "content": [{"type": "video"}, {"type": "image"}, {"type": "text", "text": "Describe the video."}],
        }
    ]
    general = encode_chat(encoder.processor, messages, frames, [frames.image_HWC])
    general_V = eager(plain, general, [0]).mean(1)[1][0, (general.mm_token_type_ids_S > 0).nonzero().flatten()]
    np.testing.assert_allclose(looked.general_V, general_V.numpy(), rtol=1e-3, atol=1e-6)

    letter = found.starts.index(response.index("B<"))
    think = [n for n, start in enumerate(found.starts) if 7 <= start < response.index("</think>")]
    with torch.no_grad():
        before, _ = logprobs(plain, prompt, ids[: letter + 1])
    assert found.answer_logprob == pytest.approx(float(before[letter]), abs=1e-5)
    assert [effect.span for effect in found.effects] == ["think", "think", "answer", "answer"]
    for effect in found.effects:
        rows = think if effect.span == "think" else [letter]
        ranking = np.argsort(-looked.tokens_NV[rows].astype(np.float32).mean(0), kind="stable")
        count = round(effect.fraction * 18)
        assert effect.tokens == count
        with torch.no_grad():
            after, _ = logprobs(plain, blotted(prompt, ranking[:count].tolist()), ids[: letter + 1])
        assert effect.top == pytest.approx(float(after[letter] - before[letter]), abs=2e-5)
        assert effect.reasoning_top == pytest.approx(float((after - before)[think].sum()), abs=5e-5)
        assert abs(effect.top) > 1e-4 and len(effect.random) == 2


def blotted(prompt: Prompt, tokens: Sequence[int]) -> Prompt:
    """Patch by patch, in numpy: 12 visual tokens of the video come before the 6 of the image."""
    media = {"pixel_values_videos": range(12), "pixel_values": range(12, 18)}
    changed: dict[str, torch.Tensor] = {}
    for name, numbers in media.items():
        pixels = getattr(prompt, name).numpy().copy()
        channels = pixels.reshape(len(pixels), 3, -1)
        mean = channels.mean((0, 2))
        for token in set(tokens) & set(numbers):
            first = 4 * (token - numbers.start)
            channels[first : first + 4] = mean[None, :, None]
        changed[name] = torch.from_numpy(pixels)
    return replace(prompt, **changed)
