"""RUN/attention/attention.jsonl: one AttentionRecord a line; maps/<name>.npz: the maps of its tokens.

A row of visual tokens stands for a PAIR of frames (Qwen2-VL and its successors join two frames in time), so a video of
T frames has T / 2 maps.  Visual tokens are in the order of the prompt: pairs of frames from the first to the last, in
each row by row, then those of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbr.eval.records import RecordKey
from sbr.resume.journal import LineFormat

FOLDER = "attention"
RECORDS = "attention.jsonl"
MAPS = "maps"


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the attention of one generated token goes, in one layer, mean over heads.  The four add up to 1.

    Example: Shares(video=0.12, image=0.05, text=0.61, own=0.22).
    """

    video: float
    image: float
    text: float
    """The words of the prompt, system prompt and template included."""
    own: float
    """What the model has written before."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the answer loses when visual tokens are painted over with the mean colour of their medium.

    Example: Effect("think", 0.3, 14, top=-1.92, random=(-0.31, -0.22, -0.40, -0.12)): log-probability of the answer
    after minus before, with the 14 tokens (30 %) that the reasoning attends to most, and with as many drawn at random.
    """

    span: str
    """Whose mean map ranked the tokens: "think" or "answer"."""
    fraction: float
    tokens: int
    top: float
    random: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AttentionRecord:
    """The attention of one answer.  N generated tokens, V visual tokens, l recorded layers."""

    sample_id: str
    level: str
    sample_index: int
    rotation: int
    response: str
    tokens: tuple[str, ...]
    """N texts of the generated tokens; joined they are the response, and what ends the turn."""
    starts: tuple[int, ...]
    """N: the character of the response at which each begins."""
    same_tokens: bool
    """The response, tokenised again, has as many tokens as were generated: it is what the model wrote."""
    video_grid: tuple[int, int, int] | None
    """Pairs of frames, rows, columns of visual tokens."""
    image_grid: tuple[int, int] | None
    layers: tuple[int, ...]
    """Numbers of the recorded layers; maps are means over them and over all heads."""
    shares: tuple[tuple[Shares, ...], ...]
    """[layer][token]"""
    sinks: tuple[int, ...]
    """Visual tokens that draw attention whatever is written; they are flagged, not left out."""
    answer_logprob: float | None
    """Of the letter that was chosen, given the prompt and all that was written before; None without an answer."""
    effects: tuple[Effect, ...]
    maps: str
    """File below maps/ with the float16 arrays tokens_NV (attention of each generated token to each visual token) and
    general_V (of the same model under a general prompt: what relative maps are divided by)."""


def attention_key(record: AttentionRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)


def _name(key: RecordKey) -> str:
    return f"the attention of question {key.sample_id} of {key.level} (sample {key.sample_index})"


LINES = LineFormat(AttentionRecord, attention_key, _name)


def attention_folder(run: Path) -> Path:
    """Where `sbr analyze attention` keeps what it finds about the evaluation in `run`."""
    return run / FOLDER
