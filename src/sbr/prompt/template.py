"""The official text of a question and its place in a chat (TencentARC/SEED-Bench-R1, official prompt string)."""

from __future__ import annotations

from typing import Any

from sbr.types import LETTERS, Sample

QUESTION_TEMPLATE = (
    "{Question} Output the thinking process in <think> </think> and final answer in <answer> </answer> tags, "
    "i.e., <think> reasoning process here </think><answer> answer here </answer>. "
)
"""Verbatim, with the final full stop and blank."""


def question_text(sample: Sample) -> str:
    """The whole text of the user turn: question, lettered options (each ends with a newline), instructions.

    "What now?" with two options begins with "What now?\\nA. open tap\\nB. close tap\\n Output the thinking process".
    """
    letters = LETTERS[: len(sample.options)]
    options = "".join(f"{letter}. {option}\n" for letter, option in zip(letters, sample.options, strict=True))
    return QUESTION_TEMPLATE.format(Question=f"{sample.question}\n{options}")


def chat_messages(sample: Sample) -> list[dict[str, Any]]:
    """One user turn: video (when the sample has one), image, text.  The system prompt is the chat template's own."""
    content: list[dict[str, Any]] = [{"type": "video"}] if sample.video is not None else []
    content += [{"type": "image"}, {"type": "text", "text": question_text(sample)}]
    return [{"role": "user", "content": content}]
