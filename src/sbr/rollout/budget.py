"""How much one run may ask for, checked before memory is taken.

The limits are far above what is useful; they catch a typing error before the system kills the process without a word.
"""

from __future__ import annotations

from collections.abc import Sequence

from sbr.config.inputs import FramesConfig
from sbr.errors import ConfigError
from sbr.types import Sample

MOST_ANSWERS = 10_000_000
"""Of one run: the key of each is in memory."""
MOST_ROWS = 1 << 14
"""Answers drawn at the same time: the logits of each are a row of the vocabulary's length, 600 kB at 152,000 tokens."""
MOST_TOKENS = 1 << 28
"""Of the answers that are drawn at the same time, at their longest: a random number of 8 bytes for each."""
MOST_FRAME_BYTES = 64 << 30
"""Decoded pictures that wait for the model: those of three batches."""
_BATCHES_IN_MEMORY = 3


def check_budget(
    section: str, batches: Sequence[Sequence[Sample]], samples: int, max_new_tokens: int, frames: FramesConfig
) -> None:
    """Raise ConfigError that names what is too much and what to lower; `section` of the recipe says how much."""
    questions, largest = sum(map(len, batches)), max(map(len, batches), default=0)
    rows, pictures = largest * samples, largest * (frames.max_frames + 1) * _BATCHES_IN_MEMORY
    pixels = pictures * frames.height * frames.width
    at_once = f"{largest:,} questions, {samples:,} samples"
    size = f"{pictures:,} of {frames.height:,} x {frames.width:,} for three batches"
    batch, longest = f"{section}.batch_size", f"{section}.max_new_tokens"
    budget = (
        (questions * samples, MOST_ANSWERS, f"answers ({questions:,} questions, {samples:,} samples)", "the limit"),
        (rows, MOST_ROWS, f"answers at once ({at_once})", batch),
        (rows * max_new_tokens, MOST_TOKENS, f"tokens at once ({at_once})", f"{batch}, {longest}"),
        (pixels * 3, MOST_FRAME_BYTES, f"bytes of pictures ({size})", f"{batch}, frames.max_frames, frames.height"),
    )
    for found, most, what, advice in budget:
        if found > most:
            lower = f"{section}.samples, {advice}"
            raise ConfigError(f"this run asks for {found:,} {what}, and the most is {most:,}; lower one of {lower}")
