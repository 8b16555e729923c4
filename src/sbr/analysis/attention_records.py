"""RUN/attention/attention.jsonl: one AttentionRecord a line; maps/<name>.npz: the maps of its tokens.

A row of visual tokens stands for a PAIR of frames (Qwen2-VL and its successors join two frames in time), so a video of
T frames has T / 2 maps.  Visual tokens are in the order of the prompt: pairs of frames from the first to the last, in
each row by row, then those of the image.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbr.errors import DataError
from sbr.eval.records import RecordKey
from sbr.files import read_file
from sbr.resume.journal import MOST_BYTES, LineFormat, Wrong

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
    reasoning_top: float | None = None
    """The same of the reasoning: the sum over its tokens, as they were written.  None when there is none."""
    reasoning_random: tuple[float, ...] = ()


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
    """Numbers of the layers of `shares`."""
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
    map_layers: tuple[int, ...] = ()
    """Numbers of the layers whose mean the maps are, over the heads too; none: all of `layers`."""

    @property
    def visual_tokens(self) -> int:
        """V, those of the video first."""
        return math.prod(self.video_grid or (0,)) + math.prod(self.image_grid or (0,))


def attention_key(record: AttentionRecord) -> RecordKey:
    return RecordKey(record.level, record.sample_id, record.sample_index, record.rotation)


def _name(key: RecordKey) -> str:
    return f"the attention of question {key.sample_id} of {key.level} (sample {key.sample_index})"


def _wrong(record: AttentionRecord) -> Wrong | None:
    """What does not fit the tokens, the layers or the grids."""
    tokens, layers = len(record.tokens), len(record.layers)
    starts, end = record.starts, len(record.response)
    if len(starts) != tokens or list(starts) != sorted(starts) or (tokens and not 0 <= starts[0] <= starts[-1] <= end):
        return Wrong("starts", f"{tokens} ascending numbers from 0 to {end}", f"{len(starts)} others")
    if len(record.shares) != layers or any(len(of_layer) != tokens for of_layer in record.shares):
        found = f"{len(record.shares)} x {sorted({len(of_layer) for of_layer in record.shares})}"
        return Wrong("shares", f"{layers} layers of {tokens} tokens", found)
    if any(not 0 <= sink < record.visual_tokens for sink in record.sinks):
        return Wrong("sinks", f"numbers below {record.visual_tokens}", str(list(record.sinks[:5])))
    if Path(record.maps).name != record.maps or not record.maps.endswith(".npz"):
        return Wrong("maps", "the name of an .npz file", repr(record.maps[:80]))
    return None


LINES = LineFormat(AttentionRecord, attention_key, _name, _wrong)


def attention_folder(run: Path) -> Path:
    """Where `sbr analyze attention` keeps what it finds about the evaluation in `run`."""
    return run / FOLDER


def read_attention(run: Path) -> list[AttentionRecord]:
    """What `sbr analyze attention` has found about the evaluation in the folder `run`, in the order of the file.

    Raises DataError when there is nothing, or with file:line when the file is damaged or its last line is torn.
    """
    file = attention_folder(run) / RECORDS
    content = read_file(file, MOST_BYTES, f"`sbr analyze attention {run}` writes it")
    if not content.endswith(b"\n"):
        line = content.count(b"\n") + 1
        raise DataError(f"{file}:{line}: the last line is torn; `sbr analyze attention {run}` continues there")
    return LINES.parse(content, file)


def read_maps(run: Path, record: AttentionRecord) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NV and general_V of `record`, float32: the attention of each generated token to each visual token, and of
    the last word of a general prompt.  Means over `map_layers` and the heads, not normalised.

    Raises DataError, which names the file, when it is missing, is damaged or does not fit the record.
    """
    file = attention_folder(run) / MAPS / record.maps
    advice = f"delete {attention_folder(run)} and run `sbr analyze attention {run}` again"
    content = read_file(file, MOST_BYTES, advice)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            tokens_NV, general_V = (np.asarray(arrays[name], dtype=np.float32) for name in ("tokens_NV", "general_V"))
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}); {advice}") from None
    expected = (len(record.tokens), record.visual_tokens)
    if tokens_NV.shape != expected or general_V.shape != expected[1:]:
        raise DataError(
            f"{file} holds maps of the shapes {tokens_NV.shape} and {general_V.shape}, expected {expected} and "
            f"{expected[1:]}; {advice}"
        )
    if not (np.isfinite(tokens_NV).all() and np.isfinite(general_V).all()):
        raise DataError(f"{file} holds numbers that are not finite; {advice}")
    return tokens_NV, general_V
