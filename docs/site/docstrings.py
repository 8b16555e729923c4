"""A griffe extension: docstrings are plain text, so tags in them, such as <answer>, are shown and not read as HTML."""

from __future__ import annotations

import re
from typing import Any

from griffe import Docstring, Extension, Object

TAG = re.compile(r"<(?=[/a-zA-Z])")


class PlainText(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring = Docstring(
                "\n".join(map(escaped, obj.docstring.value.splitlines())),
                lineno=obj.docstring.lineno,
                endlineno=obj.docstring.endlineno,
                parent=obj,
                parser=obj.docstring.parser,
                parser_options=obj.docstring.parser_options,
            )


def escaped(line: str) -> str:
    """The line with its tags escaped, but for what is code: between backticks, or an example in the interpreter."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    return "`".join(part if odd % 2 else TAG.sub("&lt;", part) for odd, part in enumerate(line.split("`")))
