"""Errors that a person can act on.

Every error a user can cause derives from `SbrError`; the command line prints its text and exits with status 2, without
a traceback.  The text says what is wrong, where, and what to do next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SbrError(Exception):
    """Base class: the message alone is enough to act on."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it travels between processes, whatever its class is made from."""
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[SbrError], args: tuple[Any, ...], values: dict[str, Any]) -> SbrError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(values)
    return error


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


class NotFiniteError(SbrError):
    """A gradient is infinite or no number; nothing was updated."""


class BusyError(SbrError):
    """Another process writes where this one was to write."""


class StoppedError(SbrError):
    """A signal has asked a run to end; what it had done is written and can be continued."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


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


_ADVICE = {
    errno.ENOSPC: "free some space there, or choose a folder on another disk",
    errno.EDQUOT: "your quota there is used up: free some space, or choose a folder on another disk",
    errno.EFBIG: "files may not be larger here (`ulimit -f`): raise the limit or choose another place",
    errno.EROFS: "nothing can be written there: choose another place",
    errno.EACCES: "the system does not allow it: change who may read or write there, or choose another place",
    errno.EPERM: "the system does not allow it: change who may read or write there, or choose another place",
    errno.ELOOP: "it is a link that leads back to itself: remove it or name what it should lead to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of this path is a file and no folder: correct the path",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENOENT: "it does not exist, or nothing can be made there: correct the path",
    errno.EEXIST: "something else is there: remove it or choose another name",
    errno.EMFILE: "too many files are open: raise `ulimit -n`, or use fewer workers",
    errno.ENFILE: "too many files are open on this machine: close other programs, or use fewer workers",
    errno.EIO: "the disk or the network folder fails: check it before you run again",
    errno.ESTALE: "the network folder has changed or gone: mount it again",
    errno.ENOMEM: "the machine is out of memory: close other programs",
}


def explain_os_error(error: OSError) -> str:
    """One sentence on an error of the system: the file, what failed, what to do.

    >>> explain_os_error(OSError(errno.ENOSPC, "No space left on device", "runs/a/records.jsonl"))
    'runs/a/records.jsonl: No space left on device; free some space there, or choose a folder on another disk'
    """
    if error.errno is None:  # of a library, in its own words
        return f"{type(error).__name__}: {error}"
    file = error.filename2 if error.filename2 is not None else error.filename
    where = "a file that the system does not name" if file is None else os.fsdecode(file)
    advice = _ADVICE.get(error.errno, "check this file and its folder")
    return f"{where}: {error.strerror}; {advice}"
