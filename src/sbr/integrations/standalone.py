"""Functions of this package as one file of Python that needs nothing but the standard library.

Other frameworks load reward and scoring functions by path, in processes where this package need not be installed.  Such
a file is taken from the sources that run here: the definitions that a function uses, as they stand, in the order in
which they depend on one another.  So no rule is written twice.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sbr import __version__

PACKAGE = "sbr"
HEAD = '''"""{about}

Written by seed-bench-r1 {version} from its own sources (Apache-2.0).  It needs nothing but Python 3.11 or newer.
"""

'''
"""Annotations are not strings there: a dataclass would look for their names in sys.modules, where loaders of files by
path (verl's is one) do not put the module."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One statement of a module that binds names, with the comments above and the docstring below it."""

    source: str
    uses: frozenset[str]


@dataclass(slots=True)
class Source:
    """A module: what it defines and where its other names come from."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    """Name -> its statement; a statement that binds two names stands under both."""
    own: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> (module of this package, name there)."""
    other: dict[str, str] = field(default_factory=dict)
    """Name -> line that imports it from the standard library."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Name -> what it is imported from, which a standalone file cannot have."""


def standalone(about: str, names: Sequence[str]) -> str:
    """The text of a file of `definitions(names)`; `about` is its first line."""
    return HEAD.format(about=about, version=__version__) + definitions(names)


def definitions(names: Sequence[str]) -> str:
    """Source that defines `names`, each "module:name", and all they use: imports of the standard library first.

    Raises ValueError when something is used that the standard library does not have, that has another name in the
    module that uses it, or when two modules mean different things by one name.
    """
    taken: dict[str, tuple[str, Definition]] = {}
    imports: dict[str, str] = {}
    for named in names:
        module, _, name = named.partition(":")
        _take(module, name, taken, imports)
    sources = list(dict.fromkeys(definition.source for _, definition in taken.values()))
    lines = "".join(f"{line}\n" for line in sorted(set(imports.values()), key=lambda line: (line.split()[0], line)))
    return lines + "".join(f"\n\n{source}\n" for source in sources)


def _take(module: str, name: str, taken: dict[str, tuple[str, Definition]], imports: dict[str, str]) -> None:
    """Put the definition of `name` behind those that it uses."""
    source = _read(module)
    if name in source.own:
        other, original = source.own[name]
        if original != name:
            raise ValueError(f"{module} calls {other}.{original} {name!r}; a standalone file keeps names as they are")
        _take(other, name, taken, imports)
    elif name in source.other:
        if imports.setdefault(name, source.other[name]) != source.other[name] or name in taken:
            raise ValueError(f"{name!r} of {module} means something else in another module")
    elif name in source.definitions:
        if name in taken or name in imports:
            if name in imports or taken[name][0] != module:
                raise ValueError(f"{name!r} of {module} means something else in another module")
            return
        definition = source.definitions[name]
        bound = [other for other, one in source.definitions.items() if one is definition]
        waiting = {other: (module, definition) for other in bound}
        # A name that is being taken counts as taken, so that a function may call itself.
        taken.update(waiting)
        for used in sorted(definition.uses):
            if used not in bound:
                _take(module, used, taken, imports)
        for other, value in waiting.items():
            taken[other] = taken.pop(other, value)
    else:
        raise ValueError(f"{module} takes {name!r} from {source.foreign.get(name, 'nowhere')}")


@cache
def _read(module: str) -> Source:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {module}")
    text = Path(spec.origin).read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    found = Source()
    statements: list[tuple[list[str], ast.stmt, int]] = []
    for number, statement in enumerate(tree.body):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            _note_imports(statement, found)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            if number and statements and tree.body[number - 1] is statements[-1][1]:  # a docstring below an assignment
                names, before, _ = statements[-1]
                statements[-1] = (names, before, statement.end_lineno or statement.lineno)
        elif names := _bound(statement):
            statements.append((names, statement, statement.end_lineno or statement.lineno))
    known = {name for names, _, _ in statements for name in names} | found.own.keys() | found.other.keys()
    known |= found.foreign.keys()
    for names, statement, last in statements:
        inside = list(ast.walk(statement))
        if any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in inside):
            found.foreign |= dict.fromkeys(names, "an import inside of it")
            continue
        used = frozenset(node.id for node in inside if isinstance(node, ast.Name)) & known
        definition = Definition("\n".join(lines[_first(statement, lines) - 1 : last]), used)
        found.definitions |= dict.fromkeys(names, definition)
    return found


def _note_imports(statement: ast.Import | ast.ImportFrom, found: Source) -> None:
    for alias in statement.names:
        name = alias.asname or alias.name
        base = statement.module or "" if isinstance(statement, ast.ImportFrom) else alias.name
        if base.split(".")[0] == PACKAGE and isinstance(statement, ast.ImportFrom):
            found.own[name] = (base, alias.name)
        elif base.split(".")[0] not in sys.stdlib_module_names:
            found.foreign[name.split(".")[0]] = base
        elif base != "__future__":
            words = f"import {ast.unparse(alias)}"
            found.other[name] = f"from {base} {words}" if isinstance(statement, ast.ImportFrom) else words


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _first(statement: ast.stmt, lines: Sequence[str]) -> int:
    """The line where a statement begins, with its decorators and the comments right above."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(one.lineno for one in decorators)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return first
