"""Addresses of servers in recipes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

MOST_SERVERS = 1000
EXAMPLE = "http://localhost:8000/v1"


def check_addresses(key: str, urls: Sequence[str]) -> None:
    """Raise ValueError unless `urls`, of the key `key`, are some different addresses."""
    if not urls:
        raise ValueError(f"{key} is an empty list; name a server, such as {EXAMPLE}")
    if len(urls) > MOST_SERVERS:
        raise ValueError(f"{key} names {len(urls):,} servers, and the most is {MOST_SERVERS:,}")
    for url in urls:
        if not _is_address(url):
            raise ValueError(f"{key} holds {url!r}, expected an address such as {EXAMPLE}")
    same = [url.rstrip("/") for url in urls]
    if twice := [url for url in urls if same.count(url.rstrip("/")) > 1]:
        raise ValueError(f"{key} names {twice[0]} twice; name every server once")


def holds_password(url: str) -> bool:
    """
    >>> holds_password("http://me:secret@host:8000/v1"), holds_password("http://host/a@b")
    (True, False)
    """
    return "@" in url.partition("//")[2].partition("/")[0]


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:  # a port that is no number, brackets without an end
        return False
