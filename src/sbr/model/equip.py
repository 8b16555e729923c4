"""What is changed in a model of transformers, so that shared-prefix passes run on it."""

from __future__ import annotations

from typing import Any

from sbr.model.families import VisionLanguageModel
from sbr.model.head import WideHead
from sbr.model.shared_prefix import ATTENTION
from sbr.model.vision import PatchProjection


def equip(model: VisionLanguageModel) -> None:
    """Select our attention and give two layers another forward; weights, their names and ordinary use stay.

    `sbr.model.load.load_model` does it; a model that was made otherwise needs it before passes and generation.
    """
    model.set_attn_implementation({"text_config": ATTENTION, "vision_config": ATTENTION})
    visual: Any = model.model.visual
    visual.patch_embed.proj.__class__ = PatchProjection
    for number, block in enumerate(visual.blocks):
        block.attn.layer_idx = number  # as layers of text have it
    model.lm_head.__class__ = WideHead
