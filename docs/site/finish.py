"""After the build: the one script that pages would fetch from elsewhere becomes a file of the site.

It is for searching on pages opened from disk.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
OURS = Path(__file__).with_name("worker_from_disk.js")


def main() -> None:
    site = Path(sys.argv[1]) / "site"
    place = site / "assets" / "javascripts" / OURS.name
    shutil.copy(OURS, place)
    found = 0
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if ELSEWHERE in text:
            found += 1
            # 404.html is served at any depth and opened from disk by nobody
            near = Path(os.path.relpath(place, page.parent)).as_posix()
            page.write_text(text.replace(ELSEWHERE, near), encoding="utf-8")
    if not found:
        sys.exit(f"no page loads {ELSEWHERE} any more; see what zensical does in its place, and correct {__file__}")


if __name__ == "__main__":
    main()
