"""The version stands in three files."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import sbr

ROOT = Path(__file__).parents[2]


def test_changelog_and_citation_name_the_version_of_the_package() -> None:
    newest = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest is not None
    assert newest[1] == f"{sbr.__version__} ({citation['date-released']})"
    assert citation["version"] == sbr.__version__
