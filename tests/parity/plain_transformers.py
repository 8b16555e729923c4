"""The independent reference: transformers' own forward on prompt + completion, one pair at a time, eager attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel

from sbr.types import Prompt


def plain_model(folder: Path, attention: str = "eager") -> PreTrainedModel:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype="float32", attn_implementation=attention)


def as_dtype(prompt: Prompt, dtype: torch.dtype) -> Prompt:
    videos = prompt.pixel_values_videos
    return replace(
        prompt,
        pixel_values=prompt.pixel_values.to(dtype),
        pixel_values_videos=None if videos is None else videos.to(dtype),
    )


def inputs(prompt: Prompt, completion: Sequence[int] = ()) -> dict[str, Any]:
    """Keyword arguments of model(...) and model.generate(...)."""
    ids = torch.cat([prompt.input_ids_S, torch.tensor(completion, dtype=torch.long)])[None]
    kinds = torch.cat([prompt.mm_token_type_ids_S, torch.zeros(len(completion), dtype=torch.long)])[None]
    named = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": kinds,
        "pixel_values": prompt.pixel_values,
        "image_grid_thw": prompt.image_grid_thw,
        "pixel_values_videos": prompt.pixel_values_videos,
        "video_grid_thw": prompt.video_grid_thw,
        "second_per_grid_ts": prompt.second_per_grid_ts,
    }
    return {name: value for name, value in named.items() if value is not None}


def logprobs(
    model: Any, prompt: Prompt, completion: Sequence[int], temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability and entropy of each completion token, from the full logits of the whole sequence."""
    logits = model(**inputs(prompt, completion)).logits[0, len(prompt) - 1 : -1] / temperature
    distribution = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    picked = distribution[torch.arange(len(completion)), torch.tensor(completion)]
    return picked, -(distribution.exp() * distribution).sum(-1).detach()


@torch.no_grad()
def sample(
    model: Any, prompt: Prompt, uniforms: np.ndarray, banned: Sequence[int], ends: Sequence[int], temperature: float
) -> list[int]:
    """Inverse-CDF sampling with a full forward pass for every token and numpy for the rest."""
    completion: list[int] = []
    for uniform in uniforms:
        logits = model(**inputs(prompt, completion)).logits[0, -1].double().numpy() / temperature
        logits[list(banned)] = -np.inf
        probabilities = np.exp(logits - logits.max())
        cdf = np.cumsum(probabilities / probabilities.sum())
        completion.append(int(np.searchsorted(cdf, uniform * cdf[-1], side="right")))
        if completion[-1] in ends:
            break
    return completion
