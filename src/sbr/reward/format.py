"""Format reward: reasoning in <think> tags, then the answer in <answer> tags, and nothing around them."""

from __future__ import annotations

import re

_FORMAT = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)


def format_reward(response: str) -> float:
    """1.0 or 0.0.  The whole response must match, as in GRPO-CARE's grpo.py (arXiv 2506.16141, format_reward).

    SEED-Bench-R1's own format reward has the same pattern but lets text follow it; its recipe does not use it.
    """
    return 1.0 if _FORMAT.fullmatch(response) else 0.0
