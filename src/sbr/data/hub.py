"""Which files of a benchmark's repository on the Hugging Face hub a set of rows needs.

What was seen of the repositories (2025-26):
    TencentARC/SEED-Bench-R1     annotations/*.jsonl; media in archives videos/<video_source>/batch_<n>.tar.gz
    qiulu66/EgoPlan-Bench2       EgoPlan-Bench2.json; its videos are Ego4D's
    longvideobench/LongVideoBench  (gated) lvb_val.json; videos.tar.part.aa ..., one archive in parts; subtitles.tar
EgoPlan-Bench is not on the hub: its authors publish it on Google Drive.

Nobody says which archive holds which clip, so the listing of the repository decides: a medium that is there as a file
of its own is taken as such; for the others the archives of its folder are fetched one by one, only the files that rows
name are unpacked, and none is fetched once all are there.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sbr.data.audit.root import FILES
from sbr.data.rows.annotations import TrainingRow, scan_rows
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.named_media import media_of
from sbr.errors import DataError
from sbr.files import replace_file

ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """What has to be fetched for the media of some rows."""

    wanted: tuple[str, ...]
    """Paths below the root that rows name and that are not there yet."""
    there: int
    files: tuple[str, ...]
    """Those among `wanted` that the repository has as files of their own."""
    archives: tuple[str, ...]
    """Archives that may hold the rest."""
    nowhere: tuple[str, ...]
    """Those among `wanted` for which the repository has neither, as far as is known."""


def named_media(root: Path, names: Iterable[str]) -> tuple[list[str], int]:
    """Media that the annotation files `names` name and that are not below `root` yet, and the number of those there.

    Raises DataError if a file is missing; bad rows are passed over here, `sbr data check` lists them.
    """
    data = DataRoot(root)
    kinds = {file.name: file.kind for file in FILES}
    paths: dict[Path, None] = {}
    for name in names:
        for line in scan_rows(data.annotation_file(name), kinds.get(name, TrainingRow)):
            if line.row is not None:
                paths.update((path, None) for _, path, _ in media_of(data, line.row))
    missing = [path.relative_to(data.path).as_posix() for path in paths if not path.is_file()]
    return missing, len(paths) - len(missing)


def plan_media(
    wanted: Sequence[str], there: int, listing: Collection[str], done: Mapping[str, Collection[str]]
) -> MediaPlan:
    """`listing`: files of the repository; `done`: archives that were opened before -> the names of all their files.

    An opened archive is fetched again, before the others, if it holds a file of a wanted name: other rows or levels
    may be asked for than before, or the medium was deleted since.  One of which nothing is known is not done.
    """
    have = set(listing)
    files = [name for name in wanted if name in have]
    rest = [name for name in wanted if name not in have]
    archives: dict[str, None] = {}
    nowhere = []
    for name in rest:
        base = PurePosixPath(name).name
        own = [archive for archive in archives_for(name, listing) if not done.get(archive) or base in done[archive]]
        archives.update((archive, None) for archive in own)
        nowhere += [] if own else [name]
    ordered = sorted(archives, key=lambda archive: (not done.get(archive), _natural(archive)))
    return MediaPlan(tuple(wanted), there, tuple(files), tuple(ordered), tuple(nowhere))


def archives_for(medium: str, listing: Iterable[str]) -> list[str]:
    """Archives in which a medium may be: those in its folder or a folder above it, or named like one of these.

    >>> archives_for("videos/Ego4D/a.mp4", ["videos/Ego4D/batch_1.tar.gz", "images.tar.gz", "videos.tar"])
    ['videos/Ego4D/batch_1.tar.gz', 'videos.tar']
    """
    folders = [str(parent) for parent in PurePosixPath(medium).parents if str(parent) != "."]
    found = []
    for name in listing:
        base = next((name.removesuffix(end) for end in ARCHIVES if name.endswith(end)), None)
        if base is not None and (base in folders or str(PurePosixPath(name).parent) in folders):
            found.append(name)
    return found


def unpack(archive: Path, wanted: Collection[str], root: Path) -> tuple[list[str], list[str]]:
    """Write the members that are `wanted` below `root`; returns these, and the names of all files of the archive.

    A member is a wanted medium if its path ends in the medium's name below its video_source ("x/Ego4D_flatten/a.mp4" is
    "videos/Ego4D/a.mp4").  Only plain files are taken, and only to the places that rows name.  Raises DataError for a
    damaged archive, and when a file cannot be written; what was unpacked before stays.
    """
    by_name: dict[str, list[str]] = {}
    for medium in wanted:
        by_name.setdefault(PurePosixPath(medium).name, []).append(medium)
    written: list[str] = []
    names: dict[str, None] = {}
    try:
        if archive.suffix in (".gz", ".tgz"):
            # tarfile stops before the end, where gzip has the checksum: a flipped bit would go unnoticed.
            with gzip.open(archive) as stream:
                while stream.read(1 << 20):
                    pass
        with tarfile.open(archive) as members:
            for member in members:
                if not member.isfile():
                    continue
                name = PurePosixPath(member.name).name
                names[name] = None
                for medium in by_name.get(name, ()):
                    below = "/".join(PurePosixPath(medium).parts[2:])
                    stream = members.extractfile(member)
                    if stream is not None and f"/{member.name}".endswith(f"/{below}"):
                        _write(root / medium, stream.read())
                        written.append(medium)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and run the same command again") from None
    return written, list(names)


def _write(file: Path, data: bytes) -> None:
    try:
        replace_file(file, data)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror}; make room and run the same command again"
        ) from None


def _natural(name: str) -> list[tuple[int, str]]:
    """batch_2 before batch_10."""
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return [(int(part), "") for part in digits] + [(0, name)]
