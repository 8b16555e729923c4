"""Visual tokens painted over with the mean colour of their medium, in the patches that the vision tower gets.

In all families a visual token is made of merge_size ** 2 consecutive rows of pixel_values or pixel_values_videos, each
with both frames of its pair, and a row has all values of a channel behind each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sbr.model.families import VisionLanguageModel
from sbr.types import Prompt

CHANNELS = 3


def merged_patches(model: VisionLanguageModel) -> int:
    """Patches of one visual token."""
    return model.model.visual.config.spatial_merge_size**2  # pyright: ignore[reportAttributeAccessIssue, reportReturnType]


def painted(prompt: Prompt, tokens: Sequence[int], merged: int) -> Prompt:
    """`prompt` with these visual tokens (numbers in order of the video's, then the image's) in one colour each medium.

    The colour is the mean of each channel over the whole medium, of values as the processor has normalised them.
    `merged` are the patches of a visual token.
    """
    videos, images = prompt.pixel_values_videos, prompt.pixel_values
    count = 0 if videos is None else len(videos) // merged
    return replace(
        prompt,
        pixel_values_videos=_painted(videos, [token for token in tokens if token < count], merged),
        pixel_values=_painted(images, [token - count for token in tokens if token >= count], merged),
    )


def _painted(pixels_ND: torch.Tensor | None, tokens: Sequence[int], merged: int) -> torch.Tensor | None:
    if pixels_ND is None or not tokens:
        return pixels_ND
    colour_D = (
        pixels_ND.view(len(pixels_ND), CHANNELS, -1).mean((0, 2)).repeat_interleave(pixels_ND.shape[1] // CHANNELS)
    )
    rows = torch.tensor(tokens)[:, None] * merged + torch.arange(merged)
    return pixels_ND.index_put((rows.flatten(),), colour_D.expand(rows.numel(), -1))
