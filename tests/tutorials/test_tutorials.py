"""docs/tutorials: every block of a page is run as it is printed, from top to bottom, in an empty folder.

```python title="my_rewards.py"    is written to that file, whatever the language
```bash                            is run by bash, which stops at the first command that fails
```python                          is run by the Python of the tests
```text                            is what the block before it prints; ... stands for anything
```console                         is only shown: it needs a hub, a scheduler or a GPU
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"sbr": "-m sbr", "torchrun": "-m torch.distributed.run"}
"""Of the environment of the tests, which need not be on the PATH."""


@dataclass(frozen=True, slots=True)
class Block:
    line: int
    language: str
    file: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(FENCE.findall(text)), f"{page}: a fence that no rule of this file reads"
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2], m[3]) for m in FENCE.finditer(text)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page is read: empty but for the job files, which the last page expects."""
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    for name, words in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    (work / "examples").symlink_to(ROOT / "examples")
    return work


def run(block: Block, folder: Path) -> str:
    """What the block prints on standard output."""
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    environment = {
        **os.environ,
        "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }
    done = subprocess.run([*command, block.text], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"line {block.line}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def as_printed(expected: str, found: str) -> bool:
    """A line of "..." may stand for several; blanks at the end of lines and the length of rules make no difference."""
    return doctest.OutputChecker().check_output(expected, found, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, folder: Path) -> None:
    printed: str | None = None
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")
            printed = None
        elif block.language in ("bash", "python"):
            printed = run(block, folder)
        elif block.language == "text":
            assert printed is not None, f"{page.name}:{block.line}: no block has printed this"
            assert as_printed(block.text, printed), f"{page.name}:{block.line}: it printed\n{printed}"
            printed = None
        else:
            assert block.language == "console", f"{page.name}:{block.line}: no rule for {block.language}"
            printed = None


def test_there_are_four_pages_that_the_site_knows() -> None:
    nav = (ROOT / "docs" / "site" / "zensical.toml").read_text(encoding="utf-8")
    assert len(PAGES) == 4
    assert [page.name for page in PAGES if f"tutorials/{page.name}" not in nav] == []


def test_output_that_differs_is_seen() -> None:
    assert as_printed("...\nDone in ...\n", "a\nb\nDone in 3 s\n")
    assert not as_printed("...\nDone in ...\n", "a\nb\nfailed\n")
