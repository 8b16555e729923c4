"""One JSON object a line: reading with every problem named, and writing at once or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbr.data.rows.lines import LONGEST_LINE
from sbr.errors import RowProblem

ONE_OBJECT = "one JSON object"
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One line of a file: `values` is None exactly when `problem` says why there are none."""

    number: int
    """Counts from 1."""
    size: int
    """Bytes, the line ending included."""
    values: dict[str, Any] | None
    problem: RowProblem | None


def shown(value: object) -> str:
    """A value as an error message quotes it: its Python form, shortened."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested almost too deeply, or an integer with thousands of digits
        text = f"a {type(value).__name__} too deep or too long to show"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def parse_lines(file: Path, lines: Iterable[bytes]) -> Iterator[JsonLine]:
    """Parse raw lines; `file` is only the name used in problems.

    A blank line is a problem and not skipped, so that row i of a good file is always line i + 1.
    """
    for number, raw in enumerate(lines, start=1):
        values, found = _parse(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw)
        problem = None if values is not None else RowProblem(file, number, "line", ONE_OBJECT, found)
        yield JsonLine(number, len(raw), values, problem)


class DuplicateKeyError(ValueError):
    """An object has a key twice; the text is the key."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json's object_pairs_hook; raises DuplicateKeyError."""
    # json keeps the last of two equal keys without a word: two different answers in one row would go unnoticed.
    values = dict(pairs)
    if len(values) != len(pairs):
        raise DuplicateKeyError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return values


def _parse(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The object of a line, or None and what was found instead."""
    if len(raw) > LONGEST_LINE:
        return None, f"longer than {LONGEST_LINE:,} bytes"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, f"not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1})"
    if not text.strip():
        return None, "blank"
    try:
        values = json.loads(text.rstrip("\r\n"), object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        return None, f"not JSON ({error.msg} at column {error.colno})"
    except DuplicateKeyError as error:
        return None, f"an object that has the key {shown(str(error))} twice"
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:  # an integer with thousands of digits
        return None, f"not JSON ({error})"
    if not isinstance(values, dict):
        return None, f"a JSON {type(values).__name__}"
    return values, ""
