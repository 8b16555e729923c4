"""The official chat in the form of OpenAI's API: pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from sbr.prompt.template import chat_messages
from sbr.types import Frames, Sample

Media = Literal["frames", "video_jpeg", "video_png"]


def openai_messages(sample: Sample, frames: Frames, media: Media) -> list[dict[str, Any]]:
    """One user turn in the order of `chat_messages`: video, image, text.

    frames: every frame of the video is a picture of its own.  video_jpeg: the video is one `video_url` of JPEGs with
    commas between them, as vLLM reads it (see `video_fields`); quality 100 without subsampling, the least that JPEG
    can lose.  video_png: the same of PNGs, which lose nothing; vLLM opens either (seen in 0.32).  With subtitles the
    frames are single pictures anyhow, the texts between them.
    """
    times = [index / frames.fps for index in frames.indices] if frames.fps else []
    video = [] if frames.video_THWC is None else list(frames.video_THWC)
    image = [] if frames.image_HWC is None else [frames.image_HWC]
    pictures = iter([*(video if sample.subtitles is not None else []), *image])
    content: list[dict[str, Any]] = []
    (turn,) = chat_messages(sample, times)
    for part in turn["content"]:
        if part["type"] == "image":
            content.append(_image(next(pictures)))
        elif part["type"] == "text":
            content.append(part)
        elif media != "frames":
            file = _jpeg if media == "video_jpeg" else _png
            url = ",".join(file(frame) for frame in video)
            content.append({"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{url}"}})
        else:
            content += [_image(frame) for frame in video]
    return [{"role": turn["role"], "content": content}]


def video_fields(frames: Frames) -> dict[str, Any]:
    """Fields of a request with a video_jpeg, for vLLM (seen in 0.33): all frames, none drawn again, and their times.

    Without them vLLM drops what comes after the 32nd frame and takes the frames for one a second.
    """
    video = {
        "num_frames": -1,
        "do_sample_frames": False,
        "fps": frames.fps,
        "frames_indices": list(frames.indices),
        "total_num_frames": frames.total,
    }
    return {"media_io_kwargs": {"video": video}}


def prompt_text(messages: Sequence[dict[str, Any]]) -> str:
    """The user turn as one text, <image> and <video> for the media; the server's template is not known.

    >>> prompt_text([{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "What now?"}]}])
    '<image>What now?'
    """
    placeholders = {"image_url": "<image>", "video_url": "<video>"}
    return "".join(part.get("text") or placeholders[part["type"]] for turn in messages for part in turn["content"])


def _image(pixels_HWC: np.ndarray) -> dict[str, Any]:
    """Lossless: the server gets the very pixels that the native engine would."""
    url = f"data:image/png;base64,{_png(pixels_HWC)}"
    return {"type": "image_url", "image_url": {"url": url}}


def _png(pixels_HWC: np.ndarray) -> str:
    return _base64(pixels_HWC, "PNG", compress_level=1)


def _jpeg(pixels_HWC: np.ndarray) -> str:
    return _base64(pixels_HWC, "JPEG", quality=100, subsampling=0)


def _base64(pixels_HWC: np.ndarray, kind: str, **options: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels_HWC).save(stream, kind, **options)
    return base64.b64encode(stream.getvalue()).decode("ascii")
