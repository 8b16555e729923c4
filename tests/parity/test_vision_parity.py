"""The vision tower against transformers' own, and batches without any picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from plain_transformers import plain_model
from torch import distributed
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.parallel import DistributedDataParallel

from sbr.config.inputs import PromptConfig
from sbr.model import vision
from sbr.model.load import load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.vision import PatchProjection, encode_media
from sbr.prompt.encode import PromptEncoder
from sbr.train.setup import Policy
from sbr.types import Prompt

COMPLETIONS_PG = [[[3, 5, 7], [11, 13]]]


@pytest.fixture(scope="module")
def pictures(tiny_model_dir, sbr_sample, sbr_frames, prompts) -> list[Prompt]:
    """Pictures of several sizes; those of the last prompt are the paper's in patches, 9 of 18 x 18."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    side = 9 * encoder.size_factor
    return [*prompts, encoder.encode(sbr_sample("3"), sbr_frames(3, count=16, height=side, width=side))]


def text_only(prompt: Prompt) -> Prompt:
    kinds = prompt.mm_token_type_ids_S
    ids, kinds = prompt.input_ids_S[kinds == 0], kinds[kinds == 0]
    nothing: dict[str, Any] = {"pixel_values_videos": None, "video_grid_thw": None, "second_per_grid_ts": None}
    return replace(
        prompt, input_ids_S=ids, mm_token_type_ids_S=kinds, pixel_values=None, image_grid_thw=None, **nothing
    )


def levels(found: Any) -> list[torch.Tensor]:
    return [torch.cat(list(level)) for level in (found.pooler_output, *found.get("deepstack_features", ()))]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_features_are_those_of_transformers(tiny_model_dir, ours, pictures, monkeypatch, dtype, tolerance) -> None:
    ours, plain = ours.to(dtype), plain_model(tiny_model_dir, "sdpa").to(dtype)
    plain.model.visual.patch_embed.proj.__class__ = PatchProjection  # the convolution sums in another order
    sizes = []

    def counted(*args, **kwargs):
        sizes.append(len(args[0]))
        return scaled_dot_product_attention(*args, **kwargs)

    monkeypatch.setattr(vision, "scaled_dot_product_attention", counted)
    largest, layers = 0.0, len(ours.model.visual.blocks)
    for batch, most in ((pictures[-1:], 3 * layers), (pictures, 7 * layers)):
        sizes.clear()
        with torch.no_grad():
            found = encode_media(ours, batch)
            images = plain.model.get_image_features(
                torch.cat([prompt.pixel_values for prompt in batch]),
                torch.cat([prompt.image_grid_thw for prompt in batch]),
                return_dict=True,
            )
            shown = [prompt for prompt in batch if prompt.pixel_values_videos is not None]
            videos = plain.model.get_video_features(
                torch.cat([prompt.pixel_values_videos for prompt in shown]),
                torch.cat([prompt.video_grid_thw for prompt in shown]),
                return_dict=True,
            )
        for kind, expected in (("image", images), ("video", videos)):
            for level, reference in zip(levels(found.by_kind[kind]), levels(expected), strict=True):
                largest = max(largest, float((level - reference).abs().max() / reference.abs().max()))
        assert len(sizes) <= most  # a call a layer and length of pictures or windows; a picture and layer before
    print(f"features of the vision tower, {dtype}: largest relative difference {largest:.1e}")
    assert largest <= tolerance


def test_a_batch_without_pictures_gives_every_weight_of_the_tower_a_gradient_of_zero(ours, prompts) -> None:
    text = text_only(prompts[1])
    found = completion_logprobs(ours, [text], COMPLETIONS_PG).logprobs_BL
    found.sum().backward()
    for name, weight in ours.model.visual.named_parameters():
        assert weight.grad is not None and not weight.grad.any(), name
    with torch.no_grad():
        whole = completion_logprobs(ours, [text, prompts[0]], [*COMPLETIONS_PG, [[1, 2]]]).logprobs_BL
    torch.testing.assert_close(whole[:2], found.detach(), rtol=0, atol=1e-5)


@pytest.fixture
def process_group(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_data_parallel_training_meets_a_batch_without_pictures(ours, prompts, process_group) -> None:
    """DistributedDataParallel waits for a gradient of every weight, and says so at the next forward pass."""
    policy = DistributedDataParallel(Policy(ours))
    for batch in ([text_only(prompts[1])], prompts[:1], [text_only(prompts[1])]):
        policy(batch, COMPLETIONS_PG).logprobs_BL.sum().backward()
    assert all(weight.grad is not None for weight in ours.parameters())
