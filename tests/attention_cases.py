"""Records of attention and of answers, made by hand."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sbr.analysis.attention_records import LINES, MAPS, RECORDS, AttentionRecord, Shares, attention_folder
from sbr.types import EvalRecord

RESPONSE = "<think>so B</think><answer>B</answer>"
TEXTS = ("<think>", "so", " B", "</think>", "<answer>", "B", "</answer>", "<|im_end|>")
STARTS = (0, 7, 9, 11, 19, 27, 28, 37)
THINK, ANSWER = (1, 2), (5,)
"""Numbers of the tokens."""


def answer(sample_id: str = "1", response: str = RESPONSE, extracted: str | None = "B", **values: Any) -> EvalRecord:
    given: dict[str, Any] = {
        "sample_id": sample_id,
        "level": "L1",
        "domain": "Daily life",
        "sample_index": 0,
        "prompt": "p",
        "options": ("open tap", "close tap"),
        "response": response,
        "extracted": extracted,
        "gold": "A",
        "correct": extracted == "A",
        "rule": "official",
        "completion_tokens": len(TEXTS),
        "truncated": False,
        "seconds": 0.1,
    }
    return EvalRecord(**given | values)


def attention(
    sample_id: str = "1", layers: Sequence[int] = (0, 1), video: Sequence[float] = (0.2, 0.4), **values: Any
) -> AttentionRecord:
    """Two pairs of frames of 1 x 2 visual tokens and an image of one; every token looks at the video `video[layer]`."""
    given: dict[str, Any] = {
        "sample_id": sample_id,
        "level": "L1",
        "sample_index": 0,
        "rotation": 0,
        "response": RESPONSE,
        "tokens": TEXTS,
        "starts": STARTS,
        "same_tokens": True,
        "video_grid": (2, 1, 2),
        "image_grid": (1, 1),
        "layers": tuple(layers),
        "shares": tuple((Shares(share, 0.1, 0.9 - share, 0.0),) * len(TEXTS) for share in video),
        "sinks": (),
        "answer_logprob": -0.5,
        "effects": (),
        "maps": f"L1-{sample_id}.npz",
    }
    return AttentionRecord(**given | values)


EVEN_NV = np.full((len(TEXTS), 5), 0.06, dtype=np.float32)


def keep(run: Path, records: Sequence[AttentionRecord], tokens_NV: np.ndarray = EVEN_NV) -> None:
    """As `sbr analyze attention` keeps them, with the same maps for all."""
    folder = attention_folder(run)
    (folder / MAPS).mkdir(parents=True)
    (folder / RECORDS).write_text("".join(LINES.line(record) for record in records), encoding="utf-8")
    for record in records:
        content = io.BytesIO()
        np.savez_compressed(content, tokens_NV=tokens_NV.astype(np.float16), general_V=tokens_NV[0].astype(np.float16))
        (folder / MAPS / record.maps).write_bytes(content.getvalue())
