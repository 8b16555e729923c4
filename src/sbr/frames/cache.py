"""The frame cache: every medium decoded, sampled and resized once, and read from a file afterwards.

An entry belongs to a medium and a rule (sampling and size).  Its name is a hash of the medium's path below the data
root and the rule; inside stand the medium's size and modification time and the versions of the libraries that decode
and resize.  So the frames are those that decoding would give, and an entry that is out of date is replaced in its
place.  The content of a medium is not hashed: that would read the whole file (megabytes, perhaps over a network) to
save decoding it.  A medium that is replaced by one of equal size and equal modification time, to the nanosecond, is
taken for the old one.

There are no locks.  Processes may read and write one folder at the same time; the worst that happens is that two of
them decode the same medium.  Deleting the folder is safe at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from sbr.config import DataConfig
from sbr.errors import ConfigError
from sbr.frames.cache_entry import FORMAT, EntryError, Pictures, read_entry, write_entry

logger = logging.getLogger(__name__)

FOLDER = Path(".cache", "sbr_frames")
"""Below the data root, unless `data.cache_dir` says otherwise."""

_DRAFTS = "tmp"
_ENTRIES = "??/*.frames"
_ABANDONED = 3600
"""Seconds after which a draft belongs to a process that was killed; writing one takes far less than a second."""

_LIBRARIES = ("av", "pillow", "torch", "torchvision")


@dataclass(slots=True)
class CacheCounts:
    """What happened to the media asked for: hits + absent + stale + damaged is their number."""

    hits: int = 0
    absent: int = 0
    stale: int = 0
    damaged: int = 0
    built: int = 0
    """Written where nothing was."""
    rebuilt: int = 0
    """Written in place of a stale or damaged entry."""
    bytes: int = 0
    """Of the entries that were hit or written."""


class FrameCache:
    """Entries of one data root in one folder; may be used from many threads.

    `writes` says whether what is missing, stale or damaged is written.  A medium whose entry cannot be used is decoded,
    so the pictures never depend on the state of the cache.
    """

    def __init__(self, root: Path, folder: Path, writes: bool) -> None:
        """Raises ConfigError if `writes` and `folder` cannot be written to."""
        self.folder = folder
        self.counts = CacheCounts()
        self.write_error: str | None = None
        """Why nothing is written any more, for example a full disk."""
        self._root = root.resolve()
        self._writes = writes
        self._lock = threading.Lock()  # of the counts, between threads
        self._told: set[str] = set()
        if writes:
            _require_writable(folder)

    def load(self, file: Path, rule: Mapping[str, Any], decode: Callable[[], Pictures]) -> Pictures:
        """The pictures of `file` under `rule` (JSON values): from the cache, or from `decode`, whose errors pass."""
        identity = _identity(file)
        if identity is None:
            return decode()  # which says what is wrong with the file
        key = {"path": os.path.relpath(file, self._root), "rule": dict(rule)}
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
        key |= {"format": FORMAT, "bytes": identity[0], "mtime_ns": identity[1], "libraries": _libraries()}
        entry = self.folder / name[:2] / f"{name}.frames"
        try:
            pictures, size = read_entry(entry, key)
        except EntryError as error:
            fault = error.fault
            self._count(fault)
            self._tell(file, entry, error)
        else:
            self._count("hits", size)
            return pictures
        pictures = decode()
        if self._writes and self.write_error is None:
            if _identity(file) == identity:
                self._write(entry, key, pictures, "built" if fault == "absent" else "rebuilt")
            else:
                logger.warning("%s changed while it was decoded; its frames are not kept", file)
        return pictures

    def content(self) -> tuple[int, int]:
        """Entries in the folder, of this and of other settings, and their bytes."""
        sizes = [size for file in self.folder.glob(_ENTRIES) if (size := _size(file)) is not None]
        return len(sizes), sum(sizes)

    def remove_abandoned(self) -> int:
        """Remove what killed processes left half written; returns how many files."""
        drafts = [file for file in (self.folder / _DRAFTS).glob("*") if _age(file) > _ABANDONED]
        for draft in drafts:
            draft.unlink(missing_ok=True)
        return len(drafts)

    def _write(self, entry: Path, key: Mapping[str, Any], pictures: Pictures, outcome: str) -> None:
        try:
            size = write_entry(entry, self.folder / _DRAFTS, key, pictures)
        except OSError as error:
            self.write_error = f"{entry} cannot be written: {error.strerror}"
            logger.warning("frame cache: %s; nothing more is kept, media are decoded", self.write_error)
        else:
            self._count(outcome, size)

    def _count(self, outcome: str, size: int = 0) -> None:
        with self._lock:
            setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
            self.counts.bytes += size

    def _tell(self, file: Path, entry: Path, error: EntryError) -> None:
        """Every damaged entry is reported; of the others the first, and only if it is not about to be written."""
        if error.fault == "damaged":
            logger.warning("frame cache: entry %s of %s is damaged (%s); decoding again", entry, file, error)
        elif not self._writes and error.fault not in self._told:
            self._told.add(error.fault)
            logger.warning(
                "frame cache %s: the entry of %s is %s (%s), so it is decoded; so are others without a further word. "
                '`sbr data cache` with the same frame settings, or data.cache = "on", renews them',
                *(self.folder, file, error.fault, error),
            )


def open_cache(config: DataConfig) -> FrameCache | None:
    """The cache a recipe asks for; None for "off", and for "read" while no cache was made.

    Raises ConfigError if `cache_dir` is named but not there, or if "on" cannot write.
    """
    folder = config.cache_dir or config.root / FOLDER
    if config.cache == "off":
        return None
    if config.cache == "read" and not folder.is_dir():
        if config.cache_dir is None:
            return None
        raise ConfigError(
            f"data.cache_dir {folder} does not exist; fill it with `sbr data cache {config.root} --folder {folder}`, "
            'or set data.cache to "on" or "off"'
        )
    opened = FrameCache(config.root, folder, writes=config.cache == "on")
    logger.info("frames kept in %s are used", folder)
    return opened


def _require_writable(folder: Path) -> None:
    probe = folder / _DRAFTS / f"probe.{uuid4().hex}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"the frame cache {folder} cannot be written to: {error.strerror}. Choose another folder "
            '(data.cache_dir; --folder of `sbr data cache`), or set data.cache to "read" to use it as it is'
        ) from None


@cache
def _libraries() -> dict[str, str]:
    """Versions without the build ("+cpu"), which decides where a model runs and not how frames are made."""
    return {name: version(name).partition("+")[0] for name in _LIBRARIES}


def _identity(file: Path) -> tuple[int, int] | None:
    """(size, modification time in ns); None if the file cannot be found."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _size(file: Path) -> int | None:
    identity = _identity(file)
    return None if identity is None else identity[0]


def _age(file: Path) -> float:
    identity = _identity(file)
    return 0.0 if identity is None else time.time() - identity[1] / 1e9
