"""The frame cache: every medium decoded, sampled and resized once, and read from a file afterwards.

An entry belongs to a medium and a rule (which part of it, sampling and size).  Its name is a hash of the medium's path
below the data root and the rule; inside stand size and modification time of every file that was read (of a folder of
frames: the pictures that are taken, so other ones may come and go) and the versions of the libraries that decode and
resize.  So the frames are those that decoding would give, and an entry that is out of date is replaced in its place.
The content of a file is not hashed: that would read all of it (megabytes, perhaps over a network) to save decoding it.
A file that is replaced by one of equal size and equal modification time, to the nanosecond, is taken for the old one.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from sbr.config.inputs import DataConfig
from sbr.errors import ConfigError
from sbr.frames.cache_entry import FORMAT, EntryError, Pictures, read_entry, write_entry

logger = logging.getLogger(__name__)

FOLDER = Path(".cache", "sbr_frames")
"""Below the data root, unless `data.cache_dir` says otherwise."""

_DRAFTS = "tmp"
_ENTRIES = "??/*.frames"
_ABANDONED = 3600
"""Seconds after which a draft belongs to a process that was killed; writing one takes far less than a second."""

_LIBRARIES = ("av", "pillow", "torch")


@dataclass(slots=True)
class CacheCounts:
    """What happened to the media asked for: hits + absent + stale + damaged is the number of those with files."""

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

    A medium whose entry cannot be used is decoded, so the pictures never depend on the state of the cache.  Entries
    that are stale or damaged are replaced, which takes no more room; `adds` says whether absent ones are written too.
    """

    def __init__(self, root: Path, folder: Path, adds: bool) -> None:
        """Raises ConfigError if `adds` and `folder` cannot be written to."""
        self.folder = folder
        self.counts = CacheCounts()
        self.write_error: str | None = None
        """Why nothing is written any more, for example a full disk."""
        self._root = root.resolve()
        self._adds = adds
        self._lock = threading.Lock()  # of the counts, between threads
        self._told: set[str] = set()
        if adds:
            _require_writable(folder)
            self._remove_abandoned()

    def load(
        self, place: Path, files: Sequence[Path], rule: Mapping[str, Any], decode: Callable[[], Pictures]
    ) -> Pictures:
        """The pictures of a medium under `rule` (JSON values): from the cache, or from `decode`, whose errors pass.

        `place` is the file or folder of the medium, `files` are those that `decode` reads.
        """
        states = _states(files)
        if states is None:
            return decode()  # which says what is wrong with the file
        key: dict[str, Any] = {"path": os.path.relpath(place, self._root), "rule": dict(rule)}
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
        key |= {"format": FORMAT, "files": states, "libraries": _libraries()}
        entry = self.folder / name[:2] / f"{name}.frames"
        try:
            pictures, size = read_entry(entry, key)
        except EntryError as error:
            fault = error.fault
            self._count(fault)
            self._tell(place, entry, error)
        else:
            self._count("hits", size)
            return pictures
        pictures = decode()
        if (self._adds or fault != "absent") and self.write_error is None:
            if _states(files) == states:
                self._write(entry, key, pictures, "built" if fault == "absent" else "rebuilt")
            else:
                logger.warning("%s changed while it was decoded; its frames are not kept", place)
        return pictures

    def log_counts(self) -> None:
        """One line: how many media were read, and what became of the others."""
        counts = self.counts
        logger.info(
            "frame cache %s: %d read, %d decoded (%d absent, %d stale, %d damaged); entries: %d added, %d replaced",
            *(self.folder, counts.hits, counts.absent + counts.stale + counts.damaged),
            *(counts.absent, counts.stale, counts.damaged, counts.built, counts.rebuilt),
        )

    def content(self) -> tuple[int, int]:
        """Entries in the folder, of this and of other settings, and their bytes."""
        sizes = [size for file in self.folder.glob(_ENTRIES) if (size := _size(file)) is not None]
        return len(sizes), sum(sizes)

    def _remove_abandoned(self) -> None:
        """Remove what killed processes left half written."""
        for draft in (self.folder / _DRAFTS).glob("*"):
            if _age(draft) > _ABANDONED:
                with suppress(PermissionError):  # another user's: theirs to remove, and in nobody's way
                    draft.unlink(missing_ok=True)

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

    def _tell(self, place: Path, entry: Path, error: EntryError) -> None:
        """Every damaged entry is reported, of the stale ones the first, and the first absent one that stays absent."""
        if error.fault == "damaged":
            logger.warning("frame cache: entry %s of %s is damaged (%s); decoding again", entry, place, error)
            return
        with self._lock:
            if error.fault in self._told:
                return
            self._told.add(error.fault)
        if error.fault == "stale":
            logger.warning(
                "frame cache %s: the entry of %s is stale (%s) and is made again; so are others without a further word",
                *(self.folder, place, error),
            )
        elif not self._adds:
            logger.warning(
                "frame cache %s: there is no entry of %s with these frame settings, so it is decoded; so are others "
                'without a further word. `sbr data cache` with the same settings, or data.cache = "on", adds them',
                *(self.folder, place),
            )


def open_cache(config: DataConfig) -> FrameCache | None:
    """The cache a recipe asks for; None for "off", and for "auto" while no cache was made.

    Raises ConfigError if `cache_dir` is named but not there, or if "on" cannot write.
    """
    folder = config.cache_dir or config.root / FOLDER
    if config.cache == "off":
        return None
    if config.cache == "auto" and not folder.is_dir():
        if config.cache_dir is None:
            return None
        raise ConfigError(
            f"data.cache_dir {folder} does not exist; fill it with `sbr data cache {config.root} --folder {folder}`, "
            'or set data.cache to "on" or "off"'
        )
    opened = FrameCache(config.root, folder, adds=config.cache == "on")
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
            '(data.cache_dir; --folder of `sbr data cache`), or set data.cache to "auto" to use it as it is'
        ) from None


@cache
def _libraries() -> dict[str, str]:
    """Versions without the build ("+cpu"), which decides where a model runs and not how frames are made."""
    return {name: version(name).partition("+")[0] for name in _LIBRARIES}


def _states(files: Sequence[Path]) -> list[list[int]] | None:
    """[size, modification time in ns] of every file; None if one cannot be found."""
    try:
        return [[status.st_size, status.st_mtime_ns] for status in (file.stat() for file in files)]
    except OSError:
        return None


def _size(file: Path) -> int | None:
    states = _states([file])
    return None if states is None else states[0][0]


def _age(file: Path) -> float:
    states = _states([file])
    return 0.0 if states is None else time.time() - states[0][1] / 1e9
