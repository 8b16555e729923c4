"""The media that rows name: where they lie, whether they are there, and which rows want them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sbr.data.rows.annotations import EgoPlanRow, Row
from sbr.data.rows.layout import DataRoot


@dataclass(frozen=True, slots=True)
class RowPlace:
    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class NamedMedium:
    """A file that is there, and every row that names it."""

    path: Path
    is_video: bool
    places: tuple[RowPlace, ...]


@dataclass(slots=True)
class MediaIndex:
    """Looks once for every medium, however many rows name it."""

    _faults: dict[Path, str | None] = field(default_factory=dict)
    _places: dict[tuple[Path, bool], list[RowPlace]] = field(default_factory=dict)

    def add(self, path: Path, is_video: bool, place: RowPlace) -> str | None:
        """Why it cannot be used: "missing", "empty", "not a file" or what the system says; None if it is there."""
        if path not in self._faults:
            self._faults[path] = _fault(path)
        if self._faults[path] is None:
            self._places.setdefault((path, is_video), []).append(place)
        return self._faults[path]

    def named(self) -> tuple[NamedMedium, ...]:
        return tuple(NamedMedium(path, video, tuple(places)) for (path, video), places in self._places.items())


def media_of(data: DataRoot, row: Row) -> Iterator[tuple[str, Path, bool]]:
    """(field, path, is a video) of every medium of a row."""
    if isinstance(row, EgoPlanRow):
        yield "current_observation_basename", data.image(row.video_source, row.current_observation_basename), False
        if row.task_progress_metadata and row.video_basename is not None:
            yield "video_basename", data.video(row.video_source, row.video_basename), True
        return
    for i, message in enumerate(row.prompt):
        for j, part in enumerate(message.content):
            if part.type != "text":
                yield f"prompt[{i}].content[{j}].{part.type}", data.path / part.value, part.type == "video"


def _fault(path: Path) -> str | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:  # no permission, or a path longer than the system allows
        return str(error.strerror)
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    return None if found.st_size else "empty"
