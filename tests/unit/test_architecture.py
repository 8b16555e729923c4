"""The tree is the diagram: imports point only upstream."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sbr

ORDER = (
    *("types", "errors", "files", "config", "data", "resume", "frames", "prompt", "model", "rollout", "reward"),
    *("algo", "distill", "train", "eval", "analysis", "report", "mini", "cli", "__main__"),
)
ROOT = Path(sbr.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
NO_TRANSFORMERS = ("reward", "algo", "eval/stats.py")


def imported(path: Path) -> set[str]:
    """Names of all modules a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rank(path: Path) -> int:
    return ORDER.index(path.relative_to(ROOT).parts[0].removesuffix(".py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upstream(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "sbr" and len(parts) > 1 and parts[1] in ORDER and parts[1] != own:
            assert ORDER.index(parts[1]) < rank(path), f"{path.relative_to(ROOT)} imports {name}, which is downstream"


@pytest.mark.parametrize("part", NO_TRANSFORMERS)
def test_pure_parts_know_no_transformers(part: str) -> None:
    files = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
    assert files
    for path in files:
        assert not any(name.split(".")[0] == "transformers" for name in imported(path)), path
