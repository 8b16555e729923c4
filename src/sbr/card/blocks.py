"""Parts of a card that are written again, between marks; the text around them belongs to its readers.

<!-- sbr:results -->
...
<!-- /sbr:results -->
"""

from __future__ import annotations

import re
from pathlib import Path

from sbr.errors import DataError
from sbr.files import read_file

CARD = "README.md"
MOST_BYTES = 4 << 20
"""Of a card; ours have some kilobytes."""

_MARK = re.compile(r"<!-- (/?)sbr:(\w+) -->")


def block(name: str, body: str) -> str:
    return f"<!-- sbr:{name} -->\n{body.strip()}\n<!-- /sbr:{name} -->"


def plain(text: str) -> str:
    """`text` on one line and without anything that could end a comment, a block or a table cell."""
    return " ".join(text.split()).replace("<!--", "<! --").replace("-->", "-- >").replace("|", "\\|").replace("`", "'")


def names_of(text: str, where: str) -> list[str]:
    """Names of the blocks in order.  Raises DataError, which begins with `where`, when marks do not pair up."""
    marks = [(found[1] == "/", found[2]) for found in _MARK.finditer(text)]
    names = [name for closing, name in marks if not closing]
    if marks != [(closing, name) for name in names for closing in (False, True)] or len(set(names)) != len(names):
        raise DataError(
            f"{where}: the marks <!-- sbr:... --> and <!-- /sbr:... --> do not pair up, so nobody knows what to write "
            "again; restore them, or remove all of them and the text between"
        )
    return names


def put(text: str, name: str, body: str, where: str) -> str:
    """`text` with the block `name` written anew, at the end when it had none.  Raises DataError as `names_of`."""
    new = block(name, body)
    if name not in names_of(text, where):
        return f"{text.rstrip()}\n\n{new}\n"
    start, end = text.index(f"<!-- sbr:{name} -->"), text.index(mark := f"<!-- /sbr:{name} -->") + len(mark)
    return text[:start] + new + text[end:]


def body_of(text: str, name: str) -> str:
    """What the block `name` holds, of a text that has it."""
    start, end = text.index(mark := f"<!-- sbr:{name} -->") + len(mark), text.index(f"<!-- /sbr:{name} -->")
    return text[start:end].strip()


def read_card(folder: Path) -> str | None:
    """The card in `folder`; None when there is none.  Raises DataError when it is no text of a sensible size."""
    file = folder / CARD
    if not file.exists():
        return None
    advice = "remove it, or name another folder"
    try:
        return read_file(file, MOST_BYTES, advice).decode()
    except UnicodeDecodeError:
        raise DataError(f"{file} is no text in UTF-8; {advice}") from None
