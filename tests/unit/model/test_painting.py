"""A visual token is painted where it lies, in the patches of every family's own processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.model.load import load_model, load_processor
from sbr.model.painting import merged_patches, painted
from sbr.prompt.encode import PromptEncoder
from sbr.types import Frames, Prompt

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
PAIRS, ROWS, COLUMNS = 2, 2, 3
VIDEO, IMAGE = PAIRS * ROWS * COLUMNS, 1 * 2


def colours(count: int) -> np.ndarray:
    """(count, 3), all different."""
    return (np.arange(1, count + 1)[:, None] * np.array([13, 7, 5]) % 251).astype(np.uint8)


def blocks(colours_NC: np.ndarray, rows: int, columns: int, side: int) -> np.ndarray:
    """Pictures of one colour a visual token, row by row: (pictures, height, width, 3)."""
    pictures = colours_NC.reshape(-1, rows, columns, 3)
    return pictures.repeat(side, axis=1).repeat(side, axis=2)


def coloured(folder: Path, sample) -> tuple[PromptEncoder, Prompt]:
    """Both frames of a pair have the same colours, so that every visual token has one."""
    encoder = PromptEncoder(load_processor(str(folder)), PromptConfig())
    side = encoder.size_factor
    video = blocks(colours(VIDEO), ROWS, COLUMNS, side).repeat(2, axis=0)
    image = blocks(colours(VIDEO + IMAGE)[VIDEO:], 1, IMAGE, side)[0]
    return encoder, encoder.encode(sample, Frames(video, image, tuple(range(2 * PAIRS)), 2.0, 2 * PAIRS))


def tokens_of(pixels_ND: torch.Tensor, merged: int) -> torch.Tensor:
    """(tokens, patches, 3, values of a channel)"""
    return pixels_ND.view(-1, merged, 3, pixels_ND.shape[1] // 3)


def normalised(encoder: PromptEncoder, colours_NC: np.ndarray) -> torch.Tensor:
    """As the processors make them: those of Qwen3-VL know other means for videos than for images."""
    values: list[torch.Tensor] = []
    media = (encoder.processor.video_processor, encoder.processor.image_processor)
    for pictures, part in zip(media, (colours_NC[:VIDEO], colours_NC[VIDEO:]), strict=True):
        mean, sd = (torch.tensor(getattr(pictures, name)) for name in ("image_mean", "image_std"))
        values.append((torch.from_numpy(part) / 255 - mean) / sd)
    return torch.cat(values)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_lie_row_by_row_in_consecutive_patches(tiny_model_dirs, sbr_sample, family) -> None:
    encoder, prompt = coloured(tiny_model_dirs[family], sbr_sample())
    merged = encoder.processor.image_processor.merge_size**2
    expected = normalised(encoder, colours(VIDEO + IMAGE))
    for pixels, part in ((prompt.pixel_values_videos, slice(VIDEO)), (prompt.pixel_values, slice(VIDEO, None))):
        found = tokens_of(pixels, merged)
        torch.testing.assert_close(found, expected[part][:, None, :, None].expand_as(found), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [(0,), (4, 11), (12,), (2, 7, 13), tuple(range(14)), ()])
def test_only_the_named_tokens_change(tiny_model_dirs, sbr_sample, family, tokens) -> None:
    encoder, prompt = coloured(tiny_model_dirs[family], sbr_sample())
    merged = merged_patches(load_model(ModelConfig(path=str(tiny_model_dirs[family])), torch.device("meta")))
    after = painted(prompt, tokens, merged)
    expected = normalised(encoder, colours(VIDEO + IMAGE))
    means = [expected[:VIDEO].mean(0), expected[VIDEO:].mean(0)]
    for token in tokens:
        expected[token] = means[token >= VIDEO]
    for pixels, part in ((after.pixel_values_videos, slice(VIDEO)), (after.pixel_values, slice(VIDEO, None))):
        found = tokens_of(pixels, merged)
        torch.testing.assert_close(found, expected[part][:, None, :, None].expand_as(found), rtol=0, atol=1e-4)
    assert after.input_ids_S is prompt.input_ids_S
    _, again = coloured(tiny_model_dirs[family], sbr_sample())
    assert torch.equal(prompt.pixel_values_videos, again.pixel_values_videos), "the prompt itself stays"
