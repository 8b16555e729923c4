"""Weights that are rounded when they are used, instead of once a pass, give the same numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import pytest
import torch

from sbr.config.inputs import FramesConfig, ModelConfig
from sbr.model.load import load_model
from sbr.model.logprobs import completion_logprobs
from sbr.plan.inputs import make_prompt
from sbr.train.trainer import Policy


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_pass_of_a_policy_is_that_of_autocast_bit_for_bit(tiny_model_dir, checkpointing) -> None:
    config = ModelConfig(path=str(tiny_model_dir), dtype="float32", gradient_checkpointing=checkpointing)
    model = load_model(config, torch.device("cpu")).train()
    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    prompt = make_prompt(model, FramesConfig(max_frames=4, height=56, width=56), 20)
    torch.manual_seed(0)
    pixels = {
        name: torch.randn(tuple(cast(torch.Tensor, getattr(prompt, name)).shape))
        for name in ("pixel_values", "pixel_values_videos")
    }
    inputs = [replace(prompt, **pixels)], [[[1, 2, 1, 2], [2, 2, 1]]]

    def gradients(policy: bool) -> list[torch.Tensor]:
        model.zero_grad()
        if policy:
            Policy(model, 1.0, autocast)(*inputs).logprobs_BL.sum().backward()
        else:
            with autocast():
                found = completion_logprobs(model, *inputs)
            found.logprobs_BL.sum().backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    for ours, plain in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(ours, plain)
    assert torch.is_autocast_cache_enabled()
