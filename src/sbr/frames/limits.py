"""How much memory one medium may take.  Checked before anything is decoded: a few bytes can promise a huge picture."""

from __future__ import annotations

from sbr.errors import MediaError

MOST_PIXELS = 1 << 26
"""Of one picture or frame, 8192 x 8192: twice what an 8K camera gives.  200 MB in RGB."""
MOST_BYTES = 2 << 30
"""Of all frames that are taken of one clip, at their own size, in RGB."""
FASTEST = 1000
"""Frames a second."""


def require_affordable(what: str, width: int, height: int, frames: int = 1) -> None:
    """Raises MediaError, beginning with `what`, if `frames` pictures of this size are more than is decoded."""
    if width * height > MOST_PIXELS:
        raise MediaError(
            f"{what} is {width:,} x {height:,} pixels, and {MOST_PIXELS:,} in all are the most that is decoded; make "
            "it smaller"
        )
    if frames * width * height * 3 > MOST_BYTES:
        raise MediaError(
            f"{what}: {frames:,} frames of {width:,} x {height:,} pixels are {frames * width * height * 3:,} bytes, "
            f"and {MOST_BYTES:,} are the most that is held of one clip; make it smaller, or lower frames.max_frames"
        )
