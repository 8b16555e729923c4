"""One hostile input: what is made, and what the answer must say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from house import Place


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[Place], list[str]]
    """Prepare the folder of the case and give the words after `sbr`."""
    words: tuple[str, ...]
    """What the message must hold: the culprit, and what is wrong with it."""
    status: int = 2
    may_change: tuple[str, ...] = ()
    """Files and folders that may be new or other afterwards: where a run had begun before it met what is wrong."""
    around: Callable[[], AbstractContextManager[object]] | None = None
    """In what the command runs: a full disk."""


def words(name: str, argv: str, *expected: str) -> Case:
    """A case that needs nothing on disk; `argv` is one line."""
    return Case(name, lambda _: argv.split(), expected)
