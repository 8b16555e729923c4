"""Prompts as a recipe makes them, without data, processor and pictures: token counts and grids are the real ones."""

from __future__ import annotations

from typing import Any

import torch

from sbr.config.inputs import FramesConfig
from sbr.frames.sampling import FRAME_FACTOR, resized_size
from sbr.model.families import VisionLanguageModel
from sbr.plan.ledger import hollow
from sbr.types import Prompt

TIMESTAMP = 9
"""Tokens that Qwen3-VL writes around every two frames: their time, the start and the end of a picture."""


def make_prompt(model: VisionLanguageModel, frames: FramesConfig, text_tokens: int) -> Prompt:
    """A video of `frames.max_frames` frames and one image, between `text_tokens` tokens of text.

    At the paper's setting: 8 x 18 x 18 and 1 x 18 x 18 patches of 1,176 numbers, 648 and 81 tokens of media.
    """
    config: Any = model.config
    core: Any = model.model
    shape = core.visual.patch_embed.proj.weight.shape  # (width, channels, frames of a patch, height, width)
    patch, merge = shape[-1], core.visual.config.spatial_merge_size
    height, width = (side // patch for side in resized_size(frames, patch * merge))
    times = frames.max_frames // FRAME_FACTOR
    picture = height * width // merge**2
    start, end = [0] * (text_tokens // 2), [0] * (text_tokens - text_tokens // 2)
    between = [0] * TIMESTAMP if config.model_type == "qwen3_vl" else []
    video = (between + [2] * picture) * times
    kinds = torch.tensor([*start, *video, *[1] * picture, *end])
    media = {1: config.image_token_id, 2: config.video_token_id}
    ids = torch.full_like(kinds, text_token(model))
    for kind, token in media.items():
        ids[kinds == kind] = token
    numbers = shape[1:].numel()
    return Prompt(
        text="",
        input_ids_S=ids,
        mm_token_type_ids_S=kinds,
        pixel_values=hollow((height * width, numbers), torch.float32),
        image_grid_thw=torch.tensor([[1, height, width]]),
        pixel_values_videos=hollow((times * height * width, numbers), torch.float32),
        video_grid_thw=torch.tensor([[times, height, width]]),
        second_per_grid_ts=torch.ones(1) if hasattr(core.visual.config, "tokens_per_second") else None,
    )


def text_token(model: VisionLanguageModel) -> int:
    """Any token that stands for no picture."""
    config: Any = model.config
    return next(token for token in range(3) if token not in (config.image_token_id, config.video_token_id))
