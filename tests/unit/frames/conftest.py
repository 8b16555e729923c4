"""Small videos whose frames can be told apart: every frame has its own flat colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from colour_videos import frame_colour


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """(name, frames, fps=10, size=(64, 48), codec, noise, muxer options) -> path of a video of that many frames."""

    def write(
        name: str,
        frames: int,
        fps: int = 10,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        noise: bool = False,
        **muxer: str,
    ) -> Path:
        random = np.random.default_rng(0)
        file = tmp_path / name
        with av.open(str(file), "w", options=muxer) as container:
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 12
            for i in range(frames):
                picture = np.empty((size[1], size[0], 3), dtype=np.uint8)
                picture[...] = random.integers(0, 256, picture.shape) if noise else frame_colour(i)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return file

    return write
