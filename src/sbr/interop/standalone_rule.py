"""The answer extractor as source text that runs without this package: `reward/answer.py` itself, not a copy by hand."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields

from sbr.reward import answer
from sbr.types import LETTERS, Answer


def standalone_rule() -> str:
    """Python source that defines `extract_answer(response, options, rule)` and needs the standard library only.

    It begins with imports, so it can follow a docstring and a __future__ import.  The text is that of the module
    without its docstring, its __future__ import and its imports of `sbr`, in whose place stand LETTERS and Answer.
    Answer is a named tuple there: frameworks run such files without an entry in sys.modules, which dataclasses need.
    """
    source = inspect.getsource(answer)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.lineno == 1
        own = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("__future__", "sbr")
        if docstring or own:
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    names = [field.name for field in fields(Answer)]
    stand_in = (
        f'from collections import namedtuple\n\nLETTERS = {LETTERS!r}\nAnswer = namedtuple("Answer", {names!r})\n'
    )
    return stand_in + _squeezed("\n".join(lines)) + "\n"


def rule_docstring() -> str:
    """What the three rules are, in the words of `reward/answer.py`: its docstring without the first paragraph."""
    return inspect.cleandoc(answer.__doc__ or "").partition("\n\n")[2]


def _squeezed(text: str) -> str:
    """At most two empty lines in a row."""
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text.rstrip()
