"""Does the reasoning entail the answer?  A rule over texts; a judge model would read more, and cost a second model.

GRPO-CARE (arXiv 2506.16141) calls the share of responses whose reasoning entails their answer the consistency rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sbr.reward.health import reasoning_text
from sbr.types import LETTERS


def named_option(response: str, options: Sequence[str]) -> str | None:
    """Letter of the option that the reasoning names last; None when it names none.

    An option is named by its own text, whatever the letter case and blanks, or by its letter in "option B", "answer is
    B" or "(B)".  Where two texts begin together the longer one counts.  Reasoning weighs options and ends with the one
    it takes, so the last one counts; "not B" is not understood.

    >>> named_option("<think>open tap is done, so close tap</think><answer>B</answer>", ("open tap", "close tap"))
    'B'
    """
    reasoning = " ".join(reasoning_text(response).split())
    offered = LETTERS[: len(options)]
    by_length = sorted(zip(offered, options, strict=True), key=lambda option: -len(option[1]))
    texts = "|".join(rf"(?P<{letter}>(?<!\w){_pattern(text)}(?!\w))" for letter, text in by_length if text.strip())
    letter = rf"(?:\b(?:option|choice|answer(?: is)?):? \(?|\()(?P<letter>[{offered}])\b(?!\w)"
    last = None
    for match in re.finditer(f"{texts}|{letter}" if texts else letter, reasoning, re.IGNORECASE):
        last = match["letter"].upper() if match.lastgroup == "letter" else match.lastgroup
    return last


def _pattern(text: str) -> str:
    return re.escape(" ".join(text.split()).rstrip(". "))
