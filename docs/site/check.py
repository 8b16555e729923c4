"""Reads the built site: every page of the navigation is there, every link leads to something, and no page loads
anything from elsewhere.  Says what is wrong and ends with status 1.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """`ids` of a page, what it links to (`links`), and what it loads by itself (`loads`)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.loads.add(values.get("href", ""))
        elif "src" in values:
            self.loads.add(values["src"])


def main() -> None:
    folder = Path(sys.argv[1])
    site = (folder / "site").resolve()
    read = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    pages = {file: page for file, page in read.items() if file.name not in ("404.html", "report.html")}
    wanted = {name.replace(".md", ".html") for name in in_nav(tomllib.loads((folder / "zensical.toml").read_text()))}
    wrong = [f"{name} stands in the navigation and was not built" for name in wanted if site / name not in pages]
    made = {file.relative_to(site).as_posix() for file in pages}
    wrong += [f"{name} was built and is not in the navigation" for name in made - wanted]
    for file, page in pages.items():
        name = file.relative_to(site)
        wrong += [f"{name} loads {load}" for load in page.loads if urlsplit(load).netloc]
        for link in page.links | {load for load in page.loads if not urlsplit(load).netloc}:
            wrong += [f"{name}: {link} leads nowhere" for _ in missing(link, file, read)]
    for file in site.rglob("*.css"):
        found = re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)", file.read_text(encoding="utf-8"))
        wrong += [f"{file.relative_to(site)} loads {load}" for load in found]
    if wrong:
        sys.exit("\n".join(sorted(set(wrong))))
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links: nothing is wrong")


def in_nav(values: Any) -> Iterator[str]:
    """Names of pages in the nav of zensical.toml."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, list):
        for value in values:
            yield from in_nav(value)
    elif "project" in values:
        yield from in_nav(values["project"]["nav"])
    else:
        yield from in_nav(list(values.values()))


def missing(link: str, file: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """The link, if it leads to a file or a part of a page that is not there."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir():
        target /= "index.html"
    part = unquote(parts.fragment)
    if not target.is_file() or (part and target in pages and part not in pages[target].ids):
        yield link


if __name__ == "__main__":
    main()
