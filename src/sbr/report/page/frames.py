"""The pictures that a model saw, decoded as for the model, as one WebP picture a question.

WebP by Pillow, measured on the miniature (7 pictures a question): at 84 x 84 quality 90 takes 16 kB and 11 ms and its
outlines look like the original; lossless takes 61 kB; AVIF of 13 kB is nearer to the original by 2 dB but takes 110 ms.
At 252 x 252 quality 80 takes 42 kB.  Lossy WebP halves the resolution of colours, which shows in small drawings at 75
and below.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sbr.analysis.evaluated import EvaluatedRun
from sbr.errors import ConfigError
from sbr.frames.ahead import frames_ahead
from sbr.frames.cache import open_cache
from sbr.frames.load import load_frames
from sbr.frames.sampling import FRAME_FACTOR, SIZE_FACTOR
from sbr.model.paths import BUILT_IN, resolve_model_path
from sbr.report.page.data import PageFrames
from sbr.resume.folder import read_json
from sbr.types import Frames, Sample

WIDEST = 16_383
"""Pixels of a WebP picture in each direction."""
_SMALL = 160
"""Frames with a shorter side below this are drawn finely: quality 90 instead of 80."""


def page_frames(samples: Iterable[Sample], run: EvaluatedRun) -> Iterator[PageFrames | None]:
    """Of every sample what `run` showed, decoded ahead in threads; None for one without pictures.

    Raises MediaError, naming the file, for a medium that is missing or damaged.
    """
    factor = size_factor(run) or SIZE_FACTOR
    load = partial(load_frames, config=run.recipe.frames, factor=factor, cache=open_cache(run.recipe.data))
    batches: Iterable[Sequence[Sample]] = ([sample] for sample in samples)
    for ((_, frames),) in frames_ahead(batches, load, ahead=8):
        yield sprite_of(frames, factor)


def sprite_of(frames: Frames, factor: int = SIZE_FACTOR) -> PageFrames | None:
    """All pictures in one, the video from its first frame, then the current observation."""
    video = [] if frames.video_THWC is None else list(frames.video_THWC)
    image = [] if frames.image_HWC is None else [frames.image_HWC]
    tiles = [*video, *image]
    if not tiles:
        return None
    height, width, _ = tiles[0].shape
    columns = min(len(tiles), WIDEST // width)
    rows = math.ceil(len(tiles) / columns)
    if rows * height > WIDEST:
        raise ConfigError(
            f"{len(tiles)} pictures of {width} x {height} pixels do not fit into one of {WIDEST} x {WIDEST}; leave "
            "them out with --no-frames"
        )
    canvas_HWC = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for place, tile_HWC in enumerate(tiles):
        top, left = place // columns * height, place % columns * width
        canvas_HWC[top : top + height, left : left + width] = tile_HWC
    grid = (height // factor, width // factor)
    return PageFrames(
        sprite=f"data:image/webp;base64,{base64.b64encode(webp(canvas_HWC, min(height, width))).decode()}",
        width=width,
        height=height,
        video=len(video),
        image=bool(image),
        seconds=tuple(round(index / frames.fps, 3) for index in frames.indices) if frames.fps else (),
        video_grid=(len(video) // FRAME_FACTOR, *grid) if video else None,
        image_grid=grid if image else None,
        columns=columns,
    )


def webp(picture_HWC: np.ndarray, side: int) -> bytes:
    """The file of a picture whose frames have this shorter side."""
    stream = io.BytesIO()
    Image.fromarray(picture_HWC).save(stream, "WEBP", quality=90 if side < _SMALL else 80, method=4)
    return stream.getvalue()


def size_factor(run: EvaluatedRun) -> int | None:
    """Pixels of one visual token of the model that answered in `run`, as `PromptEncoder.size_factor`, but without
    loading a processor: from the files in the model's folder.

    None when they are not here: a model that was removed or lies on the hub.  Raises DataError for damaged ones.
    """
    if run.recipe.engine.kind == "endpoint":
        return SIZE_FACTOR  # rollout.endpoint_engine asks every server so
    folder = Path(run.recipe.model.path).expanduser()
    if run.recipe.model.path in BUILT_IN:
        folder = Path(resolve_model_path(run.recipe.model.path))
    for name, section in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if not (folder / name).is_file():
            continue
        values = read_json(folder / name, "restore it, or leave the pictures out with --no-frames")
        pictures = values if section is None else values.get(section)
        if isinstance(pictures, dict):
            patch, merge = pictures.get("patch_size"), pictures.get("merge_size")
            if isinstance(patch, int) and isinstance(merge, int) and 1 <= patch * merge <= 1024:
                return patch * merge
    return None
