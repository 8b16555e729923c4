"""Errors that a person can act on.

Every error a user can cause derives from `SbrError`; the command line prints its text and exits with status 2, without
a traceback.  The text says what is wrong, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class SbrError(Exception):
    """Base class: the message alone is enough to act on."""


class ConfigError(SbrError):
    """A recipe or a command-line value is not valid."""


class DataError(SbrError):
    """Something on disk is not what the benchmark's layout asks for."""


class MediaError(DataError):
    """A video or image is missing, unreadable or too short."""


class PromptTooLongError(DataError):
    """A prompt holds more tokens than the recipe allows; media tokens are never cut."""


class CheckpointError(SbrError):
    """A model folder or a training state cannot be used."""


class BusyError(SbrError):
    """Another process writes where this one was to write."""


class EndpointError(SbrError):
    """A server that answers questions cannot be reached, refuses a request or says something else than an answer."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing wrong with one line of a file.

    >>> str(RowProblem(Path("validation_L1.jsonl"), 812, "golden_choice_idx", "one of A-D", "'E'"))
    "validation_L1.jsonl:812: golden_choice_idx is 'E', expected one of A-D"
    """

    file: Path
    line: int
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field} is {self.found}, expected {self.expected}"


class AnnotationError(DataError):
    """All problems of one annotation file, not only the first.  `problems` keeps every one; the text shows up to 20."""

    SHOWN = 20
    ADVICE = "Correct these rows, or download the file again; `sbr data check ROOT` lists every one."

    def __init__(self, file: Path, problems: Sequence[RowProblem], advice: str = ADVICE) -> None:
        self.file = file
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            lines.append(f"... and {len(self.problems) - self.SHOWN} more")
        count = len(self.problems)
        super().__init__(
            f"{count} problem{'s' if count != 1 else ''} in {file}:\n  " + "\n  ".join(lines) + f"\n{advice}"
        )
