"""The official text of a question and its place in a chat (TencentARC/SEED-Bench-R1, official prompt string)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sbr.types import LETTERS, Sample, Subtitle

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


def chat_messages(sample: Sample, times: Sequence[float] = ()) -> list[dict[str, Any]]:
    """One user turn: video and image (those that the sample has), text.  The system prompt is the template's own.

    With subtitles a picture for each of `times`, the seconds at which the frames were taken, stands for the video, and
    every subtitle in its place is a line of text.
    """
    content: list[dict[str, Any]] = []
    if sample.subtitles is not None:
        for part in interleave(times, sample.subtitles):
            content.append({"type": "image"} if isinstance(part, int) else {"type": "text", "text": f"{part}\n"})
    elif sample.video is not None:
        content.append({"type": "video"})
    content += [{"type": "image"}] if sample.image is not None else []
    content += [{"type": "text", "text": question_text(sample)}]
    return [{"role": "user", "content": content}]


def interleave(times: Sequence[float], subtitles: Sequence[Subtitle]) -> list[int | str]:
    """The frames, as their numbers, and the texts of the subtitles in the order in which they are shown.

    As LongVideoBench's loader does (longvideobench_dataset.py): a subtitle stands behind the frames up to its middle,
    and is left out when no frame lies inside it (one shorter than a second counts as a second around its middle).
    Ends that are null or whole numbers differ: `sbr.data.sources.longvideobench.read_subtitles`.

    >>> interleave([0.0, 10.0], [Subtitle("hello", 9.0, 11.5), Subtitle("again", 12.0, 13.0)])
    [0, 1, 'hello']
    """
    parts: list[int | str] = []
    shown = 0
    for subtitle in subtitles:
        middle = (subtitle.start + subtitle.end) / 2
        while shown < len(times) and times[shown] <= middle:
            parts.append(shown)
            shown += 1
        start, end = subtitle.start, subtitle.end
        if end - start < 1:
            start, end = middle - 0.5, middle + 0.5
        if any(start < time < end for time in times):
            parts.append(subtitle.text)
    return [*parts, *range(shown, len(times))]
