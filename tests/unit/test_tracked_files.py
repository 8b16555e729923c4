"""Every file of the repository: ends with a line end, holds no marks of an unfinished merge, and is not large."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LARGEST = 600_000
"""Bytes; what is larger makes every clone slower for ever."""
LARGER = {
    "src/sbr/mini/base/model.safetensors": 12_000_000,  # the base model of the miniature
    "docs/report.html": 16_000_000,  # one page as `sbr report` makes it
}
PUBLISHED = ("src/sbr/report/page/web/vendor/", "src/sbr/mini/base/")
"""Files as others have published them, or as other programs write them."""
UNMERGED = re.compile(rb"^(<{7} |={7}$|>{7} )", re.MULTILINE)


def tracked() -> list[str]:
    """Files that git knows or would add, without links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in listed if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def texts() -> dict[str, bytes]:
    contents = {name: (ROOT / name).read_bytes() for name in tracked() if not name.startswith(PUBLISHED)}
    return {name: content for name, content in contents.items() if b"\0" not in content}


def test_no_file_is_large() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in tracked()}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > LARGER.get(name, LARGEST)} == {}


def test_texts_end_with_one_line_end() -> None:
    wrong = [name for name, text in texts().items() if text and (not text.endswith(b"\n") or text.endswith(b"\n\n"))]
    assert wrong == []


def test_no_merge_is_unfinished() -> None:
    assert [name for name, text in texts().items() if UNMERGED.search(text)] == []
