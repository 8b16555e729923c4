"""Where things lie below a data root, and the guarantee that no row leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

from sbr.data.rows.lines import require_readable
from sbr.errors import DataError, RowProblem

ANNOTATIONS = "annotations"
VIDEOS = "videos"
IMAGES = "images"
LAYOUT = f"{ANNOTATIONS}/*.jsonl, {VIDEOS}/<video_source>/ and {IMAGES}/<video_source>/"


class DataRoot:
    """A folder with annotations/, videos/ and images/.

    The three folders themselves may be links to another disk: their names are fixed and whoever set up the root chose
    where they lead.  What the rows name must stay inside them, links included.
    """

    def __init__(self, root: Path) -> None:
        """Raises DataError, saying what is there instead, if `root` is not a data root."""
        try:
            is_root = (root / ANNOTATIONS).is_dir()
            fault = "" if is_root else _not_a_root(root)
        except OSError as error:
            raise DataError(f"data root {root} cannot be read: {error.strerror}") from None
        if not is_root:
            raise DataError(fault)
        self.path = root.resolve()
        self._inside = tuple({folder.resolve() for folder in (root, root / VIDEOS, root / IMAGES)})
        self._real_folders: dict[Path, Path] = {}

    def annotation_file(self, name: str) -> Path:
        """The path of one annotation file; DataError, naming those that are there, if it is absent or no plain file."""
        file = self.path / ANNOTATIONS / name
        if not os.path.lexists(file):
            there = ", ".join(self.annotation_names()) or "no .jsonl file at all"
            raise DataError(f"annotation file {file} does not exist; {file.parent} holds {there}")
        require_readable(file)
        return file

    def annotation_names(self) -> list[str]:
        return sorted(file.name for file in (self.path / ANNOTATIONS).glob("*.jsonl"))

    def video(self, source: str, name: str) -> Path:
        return self.path / VIDEOS / source / name

    def image(self, source: str, name: str) -> Path:
        return self.path / IMAGES / source / name

    def escape(self, medium: Path, file: Path, line: int, field: str) -> RowProblem | None:
        """The problem of a row (file, line, field) whose medium is a link out of the root; None if it stays inside.

        A medium that does not exist is no escape.
        """
        folder = self._real_folders.get(medium.parent)
        if folder is None:  # one look per folder: a full resolve of every path is slow on network disks
            # Unlike Path.resolve, realpath takes a link to itself for what it is: a medium that is not there.
            folder = self._real_folders[medium.parent] = Path(os.path.realpath(medium.parent))
        real = folder / medium.name
        real = Path(os.path.realpath(real)) if real.is_symlink() else real
        if any(real.is_relative_to(top) for top in self._inside):
            return None
        found = f"{str(medium.relative_to(self.path))!r}, a link to {real}"
        return RowProblem(file, line, field, f"a file inside the data root {self.path}", found)

    def require_media_folders(self, videos: bool) -> None:
        """Raises DataError if images/ (or videos/, when some row has one) is missing, before anything slow starts."""
        for name in (IMAGES, VIDEOS) if videos else (IMAGES,):
            if not (self.path / name).is_dir():
                raise DataError(
                    f"{self.path} has no folder {name}/, where the rows' media lie ({name}/<video_source>/<file>). "
                    "Download or unpack the media of the dataset there."
                )


def _not_a_root(root: Path) -> str:
    wanted = f"A data root holds {LAYOUT}."
    if not root.exists():
        return f"data root {root} does not exist. {wanted}"
    if not root.is_dir():
        return f"data root {root} is a file, not a folder. {wanted}"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in root.iterdir())
    there = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
    near = [folder for folder in (root.absolute().parent, *sorted(root.iterdir())) if (folder / ANNOTATIONS).is_dir()]
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{root} is not a data root: it has no folder {ANNOTATIONS}/. {wanted} It holds {there}.{hint}"
