"""What a file really is, for the message when it is not the medium its name promises."""

from __future__ import annotations

from pathlib import Path

from sbr.errors import MediaError

_HEAD = 512
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG data"),
    (b"\xff\xd8\xff", "JPEG data"),
    (b"GIF8", "GIF data"),
    (b"\x1aE\xdf\xa3", "Matroska data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
)
AGAIN = "Download or copy it again; `sbr data check ROOT` finds media that cannot be used"


def require_file(file: Path, what: str) -> None:
    """Raises MediaError if `file` is missing, a folder, empty or not readable; `what` is "video" or "image"."""
    try:
        if not file.exists():
            raise MediaError(f"{what} {file} does not exist. {AGAIN}.")
        if not file.is_file():
            raise MediaError(f"{what} {file} is not a file but a folder or device. {AGAIN}.")
        if not file.stat().st_size:
            raise MediaError(f"{what} {file} is empty (0 bytes). {AGAIN}.")
        with file.open("rb"):
            pass
    except OSError as error:
        raise MediaError(
            f"{what} {file} cannot be read: {error.strerror}. Check its permissions and the path."
        ) from None


def describe(file: Path) -> str:
    """What the first bytes of `file` look like, e.g. "text ('hello')", with its size.

    >>> describe(Path("clip.mp4"))  # doctest: +SKIP
    "text ('<html><title>404'), 1,204 bytes"
    """
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return f"{_kind(head)}, {file.stat().st_size:,} bytes"


def is_lfs_pointer(file: Path) -> bool:
    """True for the small text that Git leaves in place of a large file when LFS did not fetch it."""
    with file.open("rb") as stream:
        return stream.read(len(_LFS)) == _LFS


def remedy(file: Path) -> str:
    """What to do about a file that cannot be read."""
    if is_lfs_pointer(file):
        return "It is a Git LFS pointer, not the medium: run `git lfs pull` in the data set"
    return AGAIN


_LFS = b"version https://git-lfs"


def _kind(head: bytes) -> str:
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[4:8] == b"ftyp":
        return "MP4 data"
    if not head.strip(b"\0"):
        return "zero bytes only"
    text = head[:-3].decode("utf-8", errors="ignore") if len(head) == _HEAD else head.decode("utf-8", errors="ignore")
    printable = sum(character.isprintable() or character in "\r\n\t" for character in text)
    if len(text.encode()) > 0.95 * len(head) - 4 and printable == len(text):
        return f"text ({text.strip()[:24]!r})"
    return "unknown data"
