"""Accuracy reward: 1 when the extracted letter is the gold letter, else 0 (arXiv 2503.24376, section 3)."""

from __future__ import annotations

from sbr.types import Answer


def accuracy_reward(answer: Answer, gold: str) -> float:
    """1.0 or 0.0.  `gold` is the letter of the right option; no answer is wrong."""
    return 1.0 if answer.letter == gold else 0.0
