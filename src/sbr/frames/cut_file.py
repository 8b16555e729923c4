"""One clip or picture while it is being cut: written under another name, and renamed when its last frame is in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from sbr.errors import DataError

_CODEC = {"crf": "20", "preset": "veryfast"}


@dataclass(slots=True)
class CutFile:
    """One file that is being written.  Frames count in the recording, both included.

    Example: CutFile(ROOT/videos/EpicKitchens/P01_13_36_760.mp4, "videos/EpicKitchens/P01_13_36_760.mp4", 36, 760).
    """

    target: Path
    name: str
    first: int
    last: int
    _output: OutputContainer | None = None
    _stream: VideoStream | None = None
    _written: int = 0

    @property
    def is_picture(self) -> bool:
        return self.target.suffix == ".png"

    @property
    def temporary(self) -> Path:
        return self.target.with_name(f".{self.target.name}.{os.getpid()}.tmp")

    def add(self, frame: av.VideoFrame, rate: Fraction, last: bool) -> None:
        """Take one frame, which has the size to be written; with the `last` one the file is put in its place.

        Raises DataError when that fails: the disk, and not the recording, is at fault then.
        """
        try:
            self._add(frame, rate, last)
        except OSError as error:  # FFmpegError of the file system is one too
            raise DataError(
                f"{self.target} cannot be written: {error.strerror}; make room and run the same command again"
            ) from None

    def _add(self, frame: av.VideoFrame, rate: Fraction, last: bool) -> None:
        if self._written == 0:
            self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.is_picture:
            frame.to_image().save(self.temporary, "PNG")
        else:
            if self._output is None or self._stream is None:
                self._output = av.open(str(self.temporary), "w", format="mp4")
                self._stream = self._output.add_stream("libx264", rate=rate, options=_CODEC)
                self._stream.width, self._stream.height = frame.width, frame.height
                self._stream.pix_fmt = "yuv420p"
                self._stream.codec_context.thread_count = 1
            picture = frame.reformat(format="yuv420p")
            picture.pts, picture.time_base = self._written, 1 / rate
            self._output.mux(self._stream.encode(picture))
            if last:
                self._output.mux(self._stream.encode())
                self._output.close()
                self._output = None
        self._written += 1
        if last:
            self.temporary.replace(self.target)

    def drop(self) -> None:
        """Close and remove what is not finished."""
        output, self._output = self._output, None
        try:
            if output is not None:
                output.close()
        except FFmpegError:
            pass  # closing writes the index of a file that nobody will read; on a full disk it cannot
        finally:
            self.temporary.unlink(missing_ok=True)
