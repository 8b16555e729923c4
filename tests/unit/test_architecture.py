"""The tree is the diagram: imports point only upstream, and nowhere in a circle."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sbr

ORDER = (
    *("types", "errors", "files", "config", "data", "resume", "frames", "prompt", "card", "model", "rollout", "reward"),
    *("algo", "distill", "train", "plan", "eval", "analysis", "study", "report", "mini", "integrations", "cli"),
    "__main__",
)
ROOMS = {
    # Room -> its parts, upstream first; parts in one tuple do not import one another.  "." are the files of the room.
    "data": (("rows",), ("sources",), ("build", "audit"), (".",)),
    "train": ((".",), ("sft",), ("grpo",)),
}
LONGEST = 300
"""Lines of a file of the core; drawings of the miniature world may be longer."""
ROOT = Path(sbr.__file__).parent
MODULES = {
    ".".join(("sbr", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
NO_TRANSFORMERS = ("reward", "algo", "eval/stats.py")


def imported(path: Path) -> set[str]:
    """Names of all modules a file imports, wherever in the file, also those that only type checkers read."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


IMPORTS = {name: imported(path) & MODULES.keys() - {name} for name, path in MODULES.items()}
"""Module of the package -> modules of the package."""


def room(name: str) -> str:
    """ "sbr.data.rows.fields" -> "data"; the package itself, which everyone may import, is no room."""
    return name.split(".")[1] if "." in name else ""


def part(name: str) -> str:
    """ "sbr.data.rows.fields" -> "rows", "sbr.data.hub" -> "."."""
    parts = name.split(".")
    return parts[2] if len(parts) > 3 or (len(parts) == 3 and MODULES[name].name == "__init__.py") else "."


def test_every_room_stands_once_in_the_order() -> None:
    rooms = {room(name) for name in MODULES} - {""}
    assert len(set(ORDER)) == len(ORDER)
    assert rooms <= set(ORDER), f"not in ORDER: {rooms - set(ORDER)}"


def test_the_diagram_has_this_order() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
    block = re.search(r"^    types .*\n(?:    .*\n)*", text, re.MULTILINE)
    assert block is not None
    assert block[0].split() == [name for name in ORDER if name != "__main__"]


@pytest.mark.parametrize("name", [name for name in MODULES if room(name)])
def test_imports_point_upstream(name: str) -> None:
    for other in IMPORTS[name]:
        if room(other) not in ("", room(name)):
            assert ORDER.index(room(other)) < ORDER.index(room(name)), f"{name} imports {other}, which is downstream"


def test_no_circle_of_files() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", ROOMS)
def test_parts_of_a_room_import_upstream(name: str) -> None:
    rank = {part_name: number for number, parts in enumerate(ROOMS[name]) for part_name in parts}
    inside = {module for module in MODULES if room(module) == name and module != f"sbr.{name}"}
    assert {part(module) for module in inside} == rank.keys()
    for module in inside:
        for other in IMPORTS[module] & inside:
            upstream = part(other) == part(module) or rank[part(other)] < rank[part(module)]
            assert upstream, f"{module} imports {other}, which is downstream in {name}/"


def test_files_of_the_core_are_short() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    long = {name: count for name, count in lines.items() if count > LONGEST and ".mini.draw." not in name}
    assert not long, f"cut these into files of up to {LONGEST} lines: {long}"


@pytest.mark.parametrize("pure", NO_TRANSFORMERS)
def test_pure_parts_know_no_transformers(pure: str) -> None:
    files = [ROOT / pure] if pure.endswith(".py") else sorted((ROOT / pure).rglob("*.py"))
    assert files
    for path in files:
        assert not any(name.split(".")[0] == "transformers" for name in imported(path)), path


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    tests = Path(__file__).parents[1]
    names = {name for file in tests.rglob("test_*.py") for name in file.parent.relative_to(tests).parts}
    passed_over = pytestconfig.getini("norecursedirs")
    assert not [name for name in names for pattern in passed_over if fnmatch(name, pattern)]
