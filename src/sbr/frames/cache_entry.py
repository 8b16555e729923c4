"""One file of the frame cache: the pictures of one medium, their origin and a checksum.

    sbr-frames 1f9a77c4                                          CRC-32 of everything behind this line
    {"fps": 30.0, "indices": [0, ...], "key": {...}, ...}        one line of JSON
    uint8 pixels, RGB, row by row

Pixels are raw, so reading is one copy and a checksum.  A file is written under another name and renamed: it is complete
or not there, whatever is killed and however many processes write it.  It is not synced to the disk; what a power cut
takes away the checksum finds.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np

FORMAT = 1
"""Part of every key.  Raise it when this layout changes, or what decoding, sampling or resizing give."""

_MAGIC = b"sbr-frames"
_FIRST_LINE = len(_MAGIC) + len(" 01234567\n")

Fault = Literal["absent", "stale", "damaged"]
"""stale: of another version of the medium, or made by other versions of the libraries that decode and resize."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """One medium, sampled and resized: frames of a clip (T, H, W, 3) or an image (H, W, 3), uint8, RGB."""

    pixels: np.ndarray
    indices: tuple[int, ...] = ()
    """Which frames of the clip were taken; none for an image."""
    fps: float | None = None
    total: int = 0
    """Frames in the clip; 0 for an image."""


class EntryError(Exception):
    """There is no usable entry."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault


def read_entry(file: Path, key: Mapping[str, Any]) -> tuple[Pictures, int]:
    """The pictures and the size of the file in bytes.

    `key` holds JSON values and says what the pictures must have been made of, and how.  Raises EntryError if the file
    is absent, damaged or has another key.
    """
    try:
        with file.open("rb") as stream:
            data = bytearray(os.fstat(stream.fileno()).st_size)  # writable, as torch.from_numpy wants its arrays
            stream.readinto(data)
    except (FileNotFoundError, NotADirectoryError):
        raise EntryError("absent", "it is not there") from None
    except OSError as error:
        raise EntryError("damaged", f"it cannot be read: {error.strerror}") from None
    if data[:_FIRST_LINE] != _first_line(zlib.crc32(memoryview(data)[_FIRST_LINE:])):
        raise EntryError("damaged", "its checksum is wrong")
    start = data.index(b"\n", _FIRST_LINE) + 1
    header = json.loads(data[_FIRST_LINE:start])
    if header["key"] != key:
        differing = sorted(name for name in key if header["key"].get(name) != key[name])
        raise EntryError("stale", f"{', '.join(differing)} differ{'s' if len(differing) == 1 else ''}")
    pixels = np.frombuffer(data, dtype=np.uint8, offset=start).reshape(header["shape"])
    return Pictures(pixels, tuple(header["indices"]), header["fps"], header["total"]), len(data)


def write_entry(file: Path, drafts: Path, key: Mapping[str, Any], pictures: Pictures) -> int:
    """Write or replace an entry; returns its size in bytes.  `drafts`: a folder on the same disk.  Raises OSError."""
    pixels = np.ascontiguousarray(pictures.pixels)
    values = {
        "key": key,
        "shape": pixels.shape,
        "indices": pictures.indices,
        "fps": pictures.fps,
        "total": pictures.total,
    }
    header = json.dumps(values, sort_keys=True).encode() + b"\n"
    draft = drafts / f"{file.name}.{uuid4().hex}"
    try:
        drafts.mkdir(exist_ok=True)
        with draft.open("xb") as stream:
            stream.write(_first_line(zlib.crc32(pixels.data, zlib.crc32(header))))
            stream.write(header)
            stream.write(pixels.data)
        file.parent.mkdir(exist_ok=True)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return _FIRST_LINE + len(header) + pixels.nbytes


def _first_line(checksum: int) -> bytes:
    return _MAGIC + f" {checksum:08x}\n".encode()
