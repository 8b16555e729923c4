"""What `sbr analyze attention` has found about runs -> maps as the page draws them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from sbr.analysis.attention_records import (
    RECORDS,
    AttentionRecord,
    Effect,
    attention_folder,
    read_attention,
    read_maps,
)
from sbr.analysis.evaluated import EvaluatedRun
from sbr.report.page.data import PageAttention, PageEffect, PageFrames
from sbr.types import EvalRecord


@dataclass(frozen=True, slots=True, eq=False)
class AttendedRun:
    """The attention of one run; maps are read when they are asked for."""

    folder: Path
    records: Mapping[tuple[str, str], AttentionRecord]
    """(level, sample id) -> that of the first sample, in the benchmark's own order of options."""

    def of(self, record: EvalRecord) -> PageAttention | None:
        """Of this answer; None when it was not looked at, or when the model had given another answer then."""
        found = self.records.get((record.level, record.sample_id))
        if found is None or found.response != record.response:
            return None
        tokens_NV, general_V = read_maps(self.folder, found)
        return page_attention(found, tokens_NV, general_V)


def attended_runs(asked: Sequence[EvaluatedRun]) -> dict[str, AttendedRun]:
    """Name -> the attention of the run, of the runs that have one.  Raises DataError as `read_attention` does."""
    found: dict[str, AttendedRun] = {}
    for run in asked:
        if (attention_folder(run.folder) / RECORDS).is_file():
            first = [r for r in read_attention(run.folder) if r.sample_index == 0 and r.rotation == 0]
            found[run.name] = AttendedRun(run.folder, {(r.level, r.sample_id): r for r in first})
    return found


def fits(attention: PageAttention, frames: PageFrames) -> bool:
    """Whether the maps have a value for every visual token of these pictures."""
    pairs, rows, columns = frames.video_grid or (0, 0, 0)
    height, width = frames.image_grid or (0, 0)
    return len(base64.b64decode(attention.general)) == pairs * rows * columns + height * width


def page_attention(record: AttentionRecord, tokens_NV: np.ndarray, general_V: np.ndarray) -> PageAttention:
    raw, scale = _quantised(tokens_NV)
    general, general_scale = _quantised(general_V)
    shares_lN4 = np.array([[(t.video, t.image, t.text, t.own) for t in layer] for layer in record.shares])
    shares_N4 = shares_lN4.reshape(len(record.layers), len(record.tokens), 4).mean(0) if record.layers else ()
    return PageAttention(
        tokens=record.tokens,
        starts=record.starts,
        raw=raw,
        scale=scale,
        general=general,
        general_scale=general_scale,
        sinks=record.sinks,
        shares=tuple((video, image, text, own) for video, image, text, own in np.round(shares_N4, 4).tolist()),
        layers=record.map_layers or record.layers,
        effects=tuple(map(_effect, record.effects)),
        exact=record.same_tokens,
    )


def _effect(effect: Effect) -> PageEffect:
    return PageEffect(
        span=effect.span,
        fraction=effect.fraction,
        tokens=effect.tokens,
        top=round(effect.top, 4),
        random=round(fmean(effect.random), 4),
        reasoning_top=None if effect.reasoning_top is None else round(effect.reasoning_top, 4),
        reasoning_random=round(fmean(effect.reasoning_random), 4) if effect.reasoning_random else None,
    )


def _quantised(map_: np.ndarray) -> tuple[str, float]:
    """(base64 of round(255 * map / scale) as bytes, scale): the scale is the largest value."""
    scale = float(map_.max()) if map_.size else 0.0
    bytes_ = np.round(255 * map_ / scale).astype(np.uint8) if scale > 0 else np.zeros(map_.shape, np.uint8)
    return base64.b64encode(bytes_.tobytes()).decode(), scale
