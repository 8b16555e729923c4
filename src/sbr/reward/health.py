"""Signs of collapse that the reward does not show.

GRPO without a check on the reasoning can end in "<think>A</think><answer>A</answer>" with a perfect format rate
(GRPO-CARE issue 1).  `echo` counts such responses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sbr.reward.format import format_reward

_THINK = re.compile(r"<think>(.*?)(?:</think>|<answer>|\Z)", re.DOTALL)
_NO_WORD = re.compile(r"[\W_]+")
_LETTER_ONLY = re.compile(r"(?:(?:the )?(?:answer|option)(?: is)?)? ?[A-E]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Health:
    """Flags of one response; their means over many responses are the rates to watch.

    Example: "<think>A</think><answer>A</answer>" -> Health(formatted=True, echo=True).
    """

    formatted: bool
    """The response has the asked format (`format_reward` is 1)."""
    echo: bool
    """The reasoning is empty or says no more than a letter."""


def reasoning_text(response: str) -> str:
    """The text inside the first <think> (to the end when it is never closed); without one, all before <answer>."""
    return response[slice(*reasoning_span(response))]


def reasoning_span(response: str) -> tuple[int, int]:
    """First and past-the-last character of `reasoning_text`; equal when there is none.

    >>> reasoning_span("<think> so B </think><answer>B</answer>")
    (8, 12)
    """
    match = _THINK.search(response)
    first, last = match.span(1) if match else (0, len(response.split("<answer>", 1)[0]))
    text = response[first:last]
    start = first + len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def health(response: str) -> Health:
    """Flags of one response; never raises."""
    words = _NO_WORD.sub(" ", reasoning_text(response)).strip()
    echo = _LETTER_ONLY.fullmatch(words) is not None
    return Health(formatted=format_reward(response) == 1.0, echo=echo)
