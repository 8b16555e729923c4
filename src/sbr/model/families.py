"""The model families: Qwen2-VL, Qwen2.5-VL and dense Qwen3-VL.  All run through the same code.

What differs lies in the checkpoint's own classes: the vision tower (windows in Qwen2.5-VL, features for the early text
layers in Qwen3-VL), M-RoPE positions, and how the processor tells the time of a frame.
"""

from __future__ import annotations

from transformers import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

VisionLanguageModel = (
    Qwen2VLForConditionalGeneration | Qwen2_5_VLForConditionalGeneration | Qwen3VLForConditionalGeneration
)
VisionLanguageProcessor = Qwen2VLProcessor | Qwen2_5_VLProcessor | Qwen3VLProcessor

MODEL_CLASSES: dict[str, type[VisionLanguageModel]] = {
    "qwen2_vl": Qwen2VLForConditionalGeneration,
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": Qwen3VLForConditionalGeneration,
}
"""By `model_type` of config.json."""
