"""Annotation files that are one JSON array of objects: rows with every problem named by line, row and field."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import ONE_OBJECT, DuplicateKeyError, shown, unique_keys
from sbr.data.rows.lines import file_bytes, require_readable
from sbr.errors import AnnotationError, DataError, RowProblem

ADVICE = "Correct these rows, or download the file again.  Rows count from 1."

T = TypeVar("T")
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)
_BLANK = re.compile(r"[ \t\r\n]*")


def read_array(file: Path, parse: Callable[[RowFields], T], may_be_empty: bool = False) -> list[T]:
    """`parse` of every row, in the order of the file; no row at all is an error unless it `may_be_empty`.

    A problem that `parse` notes gets the number of its row in front of the name of the field: these
    files often are one line.  Raises AnnotationError with all problems of the file, DataError if it cannot be read as
    an array of objects.
    """
    parsed: list[T] = []
    problems: list[RowProblem] = []
    rows = _rows(file)
    if not rows and not may_be_empty:
        raise DataError(f"{file} is an empty array, expected one row or more")
    for number, fields in enumerate(rows, start=1):
        parsed.append(parse(fields))
        problems += [
            dataclasses.replace(problem, field=f"row {number}, {problem.field}") for problem in fields.problems
        ]
    if problems:
        raise AnnotationError(file, problems, ADVICE)
    return parsed


def refuse_repeats(fields: RowFields, name: str, value: str, seen: set[str]) -> None:
    """Note a problem if `value` is in `seen`, and add it."""
    if value and value in seen:
        fields.problem(name, "a new one", f"{shown(value)}, as in an earlier row")
    seen.add(value)


def require_array_file(root: Path, name: str, known: Sequence[str]) -> Path:
    """`root`/`name`; DataError, saying what is there and which names the source knows, if it is no file."""
    file = root / name
    if os.path.lexists(file):
        require_readable(file)
        return file
    if not root.is_dir():
        raise DataError(f"data root {root} is not a folder; {' and '.join(known)} belong there")
    there = ", ".join(sorted(entry.name for entry in root.glob("*.json"))) or "no .json file at all"
    raise DataError(
        f"annotation file {file} does not exist; {root} holds {there}. This source has {' and '.join(known)}; "
        "set data.root to their folder, or data.source to the source that you have; data.train_file names the file to "
        "train on"
    )


def _rows(file: Path) -> list[RowFields]:
    try:
        text = file_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start + 1})") from None
    at = _after_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise DataError(f"{file} begins with {shown(text[at : at + 20])}, expected [: one JSON array of objects")
    at = _after_blanks(text, at + 1)
    rows: list[RowFields] = []
    line, counted = 1, 0
    while rows or text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        where = f"{file}:{line}: row {len(rows) + 1}"
        values, at = _object(text, at, where)
        rows.append(RowFields(file, line, values))
        at = _after_blanks(text, at)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise DataError(f"{where} is followed by {shown(text[at : at + 20])}, expected a comma or ]; cut short?")
        at = _after_blanks(text, at + 1)
    if behind := text[_after_blanks(text, at + 1) :]:
        raise DataError(f"{file} has {shown(behind[:20])} after its array, expected the end of the file")
    return rows


def _object(text: str, at: int, where: str) -> tuple[dict[str, Any], int]:
    """The object that begins at `at`, and where it ends."""
    try:
        values, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except DuplicateKeyError as error:
        raise DataError(f"{where} has the key {shown(str(error))} twice") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or an integer with thousands of digits
        raise DataError(f"{where}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{where} is {shown(values)}, expected {ONE_OBJECT}")
    return values, end


def _after_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
