"""Sizes that are products of several keys, checked before any memory is taken."""

from __future__ import annotations

SAMPLE_BYTES = 2**30
"""Decoded frames of one sample, three bytes a pixel."""
BATCH_BYTES = 2**33
"""Decoded frames that are in one pass of the model."""
PASS_TOKENS = 2**22
"""Tokens of completions that are in one pass."""
STEP_TOKENS = 2**28
"""Tokens of completions in one training step, over all processes."""


def check_frames(frames: int, height: int, width: int) -> None:
    """Raises ValueError when the frames of one sample are too many pixels."""
    _check(
        f"max_frames x height x width = {frames} x {height} x {width} pixels of 3 bytes",
        3 * frames * height * width,
        SAMPLE_BYTES,
        "bytes a sample",
        "lower one of them",
    )


def check_pass(prompts: int, frames_bytes: int, answers: int, tokens: int, keys: str) -> None:
    """One pass of a model: `prompts` with `frames_bytes` each, and `answers` of up to `tokens` to every one.

    `keys` are the names of the three factors.  Raises ValueError when it is too large.
    """
    _check(
        f"{prompts} prompts at once with {frames_bytes:,} bytes of frames each",
        prompts * frames_bytes,
        BATCH_BYTES,
        "bytes",
        f"lower {keys.partition(' x ')[0]} or the size of the frames",
    )
    product = f"{keys} = {prompts} x {answers} x {tokens}"
    _check(product, prompts * answers * tokens, PASS_TOKENS, "tokens in one pass", "lower one of them")


def check_step(prompts: int, answers: int, tokens: int) -> None:
    """Raises ValueError when the completions of one training step are too many tokens."""
    product = f"train.prompts_per_step x rollout.group_size x rollout.max_new_tokens = {prompts} x {answers} x {tokens}"
    _check(product, prompts * answers * tokens, STEP_TOKENS, "tokens in one step", "lower one of them")


def _check(what: str, size: int, limit: int, unit: str, advice: str) -> None:
    if size > limit:
        raise ValueError(f"{what} is {size:,} {unit}, and the limit is {limit:,}; {advice}")
