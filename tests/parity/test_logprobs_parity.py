"""Group log-probabilities and their gradients against plain transformers on repeated prompts."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_transformers import as_dtype, inputs, logprobs, plain_model
from transformers import AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from sbr.config.inputs import ModelConfig
from sbr.model import logprobs as logprobs_module
from sbr.model.load import load_model
from sbr.model.logprobs import CompletionLogprobs, completion_logprobs
from sbr.model.shared_prefix import ATTENTION
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling

VOCABULARY = 400  # ordinary tokens of the tiny tokenizer
LENGTHS_PG = [[5, 1, 9, 3], [2, 7], [4, 4, 4]]  # groups may differ in size


def draw(lengths_PG: list[list[int]], seed: int = 0) -> list[list[list[int]]]:
    generator = random.Random(seed)
    return [[[generator.randrange(VOCABULARY) for _ in range(n)] for n in lengths_G] for lengths_G in lengths_PG]


def reference(model, prompts, completions_PG, temperature: float = 1.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pairs = zip(prompts, completions_PG, strict=True)
    return [logprobs(model, prompt, completion, temperature) for prompt, group in pairs for completion in group]


def largest_error(found: CompletionLogprobs, expected: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    assert found.mask_BL.sum(1).tolist() == [len(row) for row, _ in expected]
    errors = [0.0]
    for b, (row, entropy) in enumerate(expected):
        assert found.mask_BL[b, : len(row)].all()
        assert (found.logprobs_BL[b, len(row) :] == 0).all()
        errors += (found.logprobs_BL[b, : len(row)] - row).abs().tolist()
        errors += (found.entropy_BL[b, : len(row)] - entropy).abs().tolist()
    return max(errors)


def weighted(rows: list[torch.Tensor]) -> torch.Tensor:
    """A loss whose gradient differs for every token."""
    flat = torch.cat(rows)
    return (flat * torch.linspace(-1, 1.5, len(flat))).sum()


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def our_loss(found: CompletionLogprobs) -> torch.Tensor:
    return weighted([row[mask] for row, mask in zip(found.logprobs_BL, found.mask_BL, strict=True)])


def largest_relative_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    assert all(gradient.norm() > 0 for gradient in expected.values())
    return max(float((found[name] - expected[name]).norm() / expected[name].norm()) for name in expected)


def test_logprobs_entropy_and_every_gradient(ours, plain, prompts) -> None:
    completions_PG = draw(LENGTHS_PG)
    found, expected = completion_logprobs(ours, prompts, completions_PG), reference(plain, prompts, completions_PG)
    error = largest_error(found, expected)
    print(f"log-probabilities and entropy, float32: largest difference {error:.1e}")
    assert error <= 1e-5
    expected_gradients = gradients(plain, weighted([row for row, _ in expected]))
    assert any(name.startswith("model.visual.") for name in expected_gradients)
    error = largest_relative_error(gradients(ours, our_loss(found)), expected_gradients)
    print(f"{len(expected_gradients)} gradient tensors: largest relative error {error:.1e}")
    assert error <= 1e-4


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(ours, plain, prompts, temperature) -> None:
    completions_PG = draw(LENGTHS_PG)
    found = completion_logprobs(ours, prompts, completions_PG, temperature)
    expected = reference(plain, prompts, completions_PG, temperature)
    assert largest_error(found, expected) <= 1e-5
    expected_gradients = gradients(plain, weighted([row for row, _ in expected]))
    assert largest_relative_error(gradients(ours, our_loss(found)), expected_gradients) <= 1e-4


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_without_a_softmax_is_refused(ours, prompts, temperature) -> None:
    with pytest.raises(ValueError, match="needs more than 0"):
        completion_logprobs(ours, prompts, draw(LENGTHS_PG), temperature)


@pytest.mark.parametrize("train_vision", [True, False])
def test_gradient_checkpointing_and_frozen_vision(tiny_model_dir, plain, prompts, train_vision) -> None:
    config = ModelConfig(
        path=str(tiny_model_dir), dtype="float32", train_vision=train_vision, gradient_checkpointing=True
    )
    model = load_model(config, torch.device("cpu")).train()
    plain.model.visual.requires_grad_(train_vision)
    completions_PG = draw(LENGTHS_PG, seed=1)
    found = gradients(model, our_loss(completion_logprobs(model, prompts, completions_PG)))
    expected = gradients(plain, weighted([row for row, _ in reference(plain, prompts, completions_PG)]))
    assert any(name.startswith("model.visual.") for name in found) == train_vision
    assert largest_relative_error(found, expected) <= 1e-4


def test_few_rows_of_logits_at_a_time_change_nothing(ours, prompts, monkeypatch) -> None:
    completions_PG = draw(LENGTHS_PG, seed=2)
    whole = completion_logprobs(ours, prompts, completions_PG)
    whole_gradients = gradients(ours, our_loss(whole))
    ours.zero_grad()
    shapes = []
    ours.lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape[0]))
    monkeypatch.setattr(logprobs_module, "CHUNK", 7)
    parts = completion_logprobs(ours, prompts, completions_PG)
    assert max(shapes) <= 7
    assert sum(shapes) == sum(map(sum, LENGTHS_PG))  # prompt positions never reach the head
    torch.testing.assert_close(parts.logprobs_BL, whole.logprobs_BL, rtol=0, atol=1e-5)
    assert largest_relative_error(gradients(ours, our_loss(parts)), whole_gradients) <= 1e-4


def test_a_prompt_of_text_alone(ours, plain, prompts) -> None:
    kinds = prompts[1].mm_token_type_ids_S
    ids, kinds = prompts[1].input_ids_S[kinds == 0], kinds[kinds == 0]
    text = replace(prompts[1], input_ids_S=ids, mm_token_type_ids_S=kinds, pixel_values=None, image_grid_thw=None)
    for batch in ([text], [text, prompts[0]]):
        completions_PG = draw(LENGTHS_PG[: len(batch)])
        with torch.no_grad():
            found, expected = completion_logprobs(ours, batch, completions_PG), reference(plain, batch, completions_PG)
        assert largest_error(found, expected) <= 1e-5


def test_no_mask_is_ever_built(ours, tokenizer, prompts, request) -> None:
    """A dense mask of a packed row would be far larger than the rest; the layout says who attends to whom."""
    built = []

    def recorded(**arguments: Any) -> torch.Tensor | None:
        built.append(arguments["q_length"])
        return sdpa_mask(**arguments)

    request.addfinalizer(lambda: AttentionMaskInterface.register(ATTENTION, sdpa_mask))
    AttentionMaskInterface.register(ATTENTION, recorded)
    completion_logprobs(ours, prompts, draw(LENGTHS_PG))
    generate(ours, tokenizer, prompts, 2, Sampling(max_new_tokens=3), [0, 1, 2])
    assert built == []
    ours(**inputs(prompts[0]))
    assert built == [len(prompts[0])]  # an ordinary forward asks for one


def test_media_are_encoded_once_in_one_call(ours, prompts) -> None:
    calls = []
    ours.model.visual.register_forward_pre_hook(lambda module, args: calls.append(args[0].shape[0]))
    patches = [
        sum(0 if pixels is None else pixels.shape[0] for pixels in (prompt.pixel_values, prompt.pixel_values_videos))
        for prompt in prompts
    ]
    completion_logprobs(ours, prompts, draw(LENGTHS_PG))
    completion_logprobs(ours, prompts[1:2], draw([[3, 3]]))  # no video in the whole batch
    assert calls == [sum(patches), patches[1]]


lengths = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=4), min_size=3, max_size=3)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(lengths_PG=lengths, order=st.permutations([0, 1, 2]), count=st.integers(1, 3), seed=st.integers(0, 99))
def test_float64_over_lengths_group_sizes_and_orders(models_float64, prompts, lengths_PG, order, count, seed) -> None:
    ours, plain = models_float64
    chosen = [as_dtype(prompts[p], torch.float64) for p in order[:count]]
    completions_PG = draw(lengths_PG[:count], seed)
    with torch.no_grad():
        found = completion_logprobs(ours, chosen, completions_PG)
        pairs = zip(chosen, completions_PG, strict=True)
        expected = [
            logprobs(plain, prompt, completion) if completion else (torch.zeros(0), torch.zeros(0))
            for prompt, group in pairs
            for completion in group
        ]
    assert found.logprobs_BL.dtype == torch.float64
    error = largest_error(found, expected)
    print(f"log-probabilities and entropy, float64: largest difference {error:.1e}")
    assert error <= 1e-10


@pytest.fixture(scope="module")
def models_float64(tiny_model_dir):
    config = ModelConfig(path=str(tiny_model_dir), dtype="float32")
    # Eager attention takes its softmax in float32 whatever the weights are, so the reference here is plain SDPA.
    return load_model(config, torch.device("cpu")).double(), plain_model(tiny_model_dir, "sdpa").double()


def test_bf16_autocast_is_as_close_as_plain_bf16(ours, plain, prompts) -> None:
    completions_PG = draw(LENGTHS_PG, seed=3)
    with torch.no_grad():
        exact = reference(plain, prompts, completions_PG)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = reference(plain, prompts, completions_PG)
    with torch.autocast("cpu", torch.bfloat16):
        found = completion_logprobs(ours, prompts, completions_PG)
    plain_error = max(float((a - b).abs().max()) for (a, _), (b, _) in zip(rounded, exact, strict=True))
    assert found.logprobs_BL.dtype == torch.float32
    assert 0 < largest_error(found, exact) <= 2 * plain_error
    assert all(gradient.isfinite().all() for gradient in gradients(ours, our_loss(found)).values())


def test_bf16_logits_are_not_rounded_to_bf16(ours, prompts) -> None:
    model, completions_PG = ours.bfloat16(), draw(LENGTHS_PG, seed=3)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    model.lm_head.register_forward_hook(lambda _, inputs, logits: seen.append((inputs[0], logits)))
    with torch.no_grad():
        found = completion_logprobs(model, prompts, completions_PG)
        model(**inputs(prompts[1]))
    assert all(logits.dtype == torch.float32 for _, logits in seen)
    exact = (seen[0][0].double() @ model.lm_head.weight.double().T).log_softmax(-1)
    targets = torch.tensor([token for group in completions_PG for completion in group for token in completion])
    expected = exact.gather(-1, targets[:, None]).squeeze(-1)
    torch.testing.assert_close(found.logprobs_BL[found.mask_BL].double(), expected, rtol=0, atol=1e-5)


def test_without_a_layout_the_model_is_the_ordinary_one(ours, plain, prompts) -> None:
    rows = [inputs(prompts[0], [1, 2, 3]), inputs(prompts[0])]
    ids = torch.full((2, len(prompts[0]) + 3), ours.generation_config.pad_token_id)
    batch = {key: torch.cat([row[key] for row in rows]) for key in ("pixel_values", "image_grid_thw")}
    videos = {"pixel_values_videos", "video_grid_thw", "second_per_grid_ts"} & rows[0].keys()
    batch |= {key: torch.cat([row[key] for row in rows]) for key in videos}
    batch |= {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids), "attention_mask": torch.zeros_like(ids)}
    for b, row in enumerate(rows):  # padded at the left: the mask matters
        for key in ("input_ids", "mm_token_type_ids", "attention_mask"):
            batch[key][b, -row[key].shape[1] :] = row[key]
    valid = batch["attention_mask"].bool()
    with torch.no_grad():
        torch.testing.assert_close(ours(**batch).logits[valid], plain(**batch).logits[valid], rtol=0, atol=5e-5)
