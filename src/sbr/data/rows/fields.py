"""Typed access to the fields of one annotation row that notes every problem and goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, TypeGuard

from sbr.data.rows.jsonl import shown
from sbr.errors import RowProblem
from sbr.types import ProgressStep

BEFORE_FIRST_FRAME = -1
"""Ego4D's annotations (as in EgoPlan's files) give this as the frame of what began before the video did."""

LAST_FRAME = 2**31 - 1
"""More than a year of video at 60 frames a second."""
LAST_SECOND = 1e8
"""Three years."""

_SURROGATE = re.compile("[\ud800-\udfff]")
SPECIAL_TOKEN = re.compile(r"<\|[A-Za-z0-9_]+\|>")
"""How the special tokens of the Qwen-VL families are written: <|im_end|>, <|video_pad|>, ..."""

LONGEST_NAME = 255
"""Bytes of one path component that common file systems allow."""
LONGEST_PATH = 2048
"""Bytes of a path below a folder; systems allow 4096 in all."""


def path_fault(name: str) -> str | None:
    """Why `name` may not be joined to a folder (None: it may): it must be relative and stay below that folder.

    >>> path_fault("P01_13_760.png") is None, path_fault("../secret.png")
    (True, "a path with '..'")
    """
    if not name.strip():
        return "empty"
    parts = name.split("/")
    if name.startswith("/") or PureWindowsPath(name).drive:
        return "an absolute path"
    if ".." in parts:
        return "a path with '..'"
    if "\0" in name or "\\" in name:
        return "a path with a NUL or a backslash"
    if parts[-1] in ("", "."):
        return "a folder"
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        return f"a name longer than {LONGEST_NAME} bytes"
    if len(name.encode()) > LONGEST_PATH:
        return f"a path longer than {LONGEST_PATH} bytes"
    return None


def is_seconds(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a time in seconds that can be computed with: a number, finite and of LAST_SECOND at most."""
    # Comparing is safe where computing is not: with NaN it is false, with an int of 400 digits it does not overflow.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LAST_SECOND <= value <= LAST_SECOND


@dataclass(slots=True)
class RowFields:
    """Reads fields of one row.  After a problem a method returns a stand-in; a row with problems is not used."""

    file: Path
    line: int
    values: Mapping[str, Any]
    problems: list[RowProblem] = field(default_factory=list)

    def problem(self, name: str, expected: str, found: str) -> None:
        self.problems.append(RowProblem(self.file, self.line, name, expected, found))

    def absent(self, name: str) -> bool:
        """True for a missing key and for null, which some JSON exporters write for a missing key."""
        return self.values.get(name) is None

    def text(self, name: str, expected: str = "a text") -> str:
        return self._text(name, self._get(name), expected)

    def optional_text(self, name: str) -> str | None:
        return None if self.absent(name) else self.text(name)

    def texts(self, name: str, least: int) -> tuple[str, ...]:
        """A list of at least `least` texts."""
        items = self.items(name, least, f"a list of {least} texts or more")
        return tuple(self._text(f"{name}[{i}]", item, "a text") for i, item in enumerate(items))

    def items(self, name: str, least: int, expected: str) -> Sequence[Any]:
        value = self._get(name)
        if not isinstance(value, list):
            self.problem(name, expected, self._found(value))
            return ()
        if len(value) < least:
            self.problem(name, expected, f"a list of {len(value)}")
        return value

    def letter(self, name: str, letters: str) -> str:
        value = self._get(name)
        if isinstance(value, str) and len(value) == 1 and value in letters:
            return value
        self.problem(name, f"one of {letters[0]}-{letters[-1]}", self._found(value))
        return letters[0]

    def identifier(self, name: str) -> str:
        """An integer or a text, returned as text: 7 and "7" are the same sample."""
        value = self._get(name)
        if type(value) is int:
            return str(value)
        return self._text(name, value, "an integer or a text")

    def frame(self, name: str, least: int = BEFORE_FIRST_FRAME) -> int:
        return self._frame(name, self._get(name), least)

    def optional_frame(self, name: str) -> int | None:
        return None if self.absent(name) else self.frame(name)

    def seconds(self, name: str) -> float:
        value = self._get(name)
        if is_seconds(value):
            return value
        self.problem(name, f"a number of seconds, at most {LAST_SECOND:,.0f}", self._found(value))
        return 0.0

    def path(self, name: str, expected: str = "a path inside the data root") -> str:
        value = self.text(name, expected)
        if value and (fault := path_fault(value)):
            self.problem(name, expected, f"{shown(value)} ({fault})")
        return value

    def folder(self, name: str) -> str:
        """The name of one folder."""
        value = self.path(name, "the name of one folder")
        if "/" in value and not path_fault(value):
            self.problem(name, "the name of one folder", shown(value))
        return value

    def progress(self, name: str) -> tuple[ProgressStep, ...]:
        """A list, empty or not, of {narration_text, start_frame, stop_frame}."""
        items = self.items(name, 0, "a list of progress steps (it may be empty)")
        return tuple(self._step(f"{name}[{i}]", item) for i, item in enumerate(items))

    def _step(self, name: str, item: object) -> ProgressStep:
        if not isinstance(item, dict):
            self.problem(name, "an object with narration_text, start_frame and stop_frame", shown(item))
            return ProgressStep("", 0, 0)
        narration = item.get("narration_text", _MISSING)
        if not isinstance(narration, str) or narration.strip():  # an empty one occurs in EgoPlan's own data
            narration = self._text(f"{name}.narration_text", narration, "a text")
        start = self._frame(f"{name}.start_frame", item.get("start_frame", _MISSING), BEFORE_FIRST_FRAME)
        stop = self._frame(f"{name}.stop_frame", item.get("stop_frame", _MISSING), 0)
        if stop < start:
            self.problem(f"{name}.stop_frame", f"{start} (start_frame) or later", str(stop))
        return ProgressStep(narration, start, stop)

    def _frame(self, name: str, value: object, least: int) -> int:
        if type(value) is int and least <= value <= LAST_FRAME:
            return value
        bounds = f"{least} or more" if type(value) is not int or value < least else f"{LAST_FRAME} or less"
        self.problem(name, f"a frame number, {bounds}", self._found(value))
        return 0

    def _text(self, name: str, value: object, expected: str) -> str:
        if not isinstance(value, str):
            self.problem(name, expected, self._found(value))
        elif not value.strip():
            self.problem(name, expected, "empty")
        elif not value.isascii() and _SURROGATE.search(value):
            self.problem(name, expected, f"{shown(value)}, half of a surrogate pair, which no UTF-8 file can hold")
        elif special := SPECIAL_TOKEN.search(value):
            # A model would read it as the border of a turn or as a picture; prompt/encode.py asks the tokenizer itself.
            self.problem(name, f"{expected} without special tokens", f"{shown(value)}, which holds {special[0]}")
        else:
            return value
        return ""

    def _get(self, name: str) -> Any:
        return self.values.get(name, _MISSING)

    @staticmethod
    def _found(value: object) -> str:
        return "missing" if value is _MISSING else shown(value)


_MISSING = object()
