"""One job of a study, in a process of its own: hold it, do what its verb does, note how it ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sbr.cli import jobs
from sbr.cli.main import out_of_memory
from sbr.cli.progress import Bars
from sbr.errors import BusyError, SbrError, StoppedError, explain_os_error
from sbr.resume.lock import locked
from sbr.study.graph import StudyJob
from sbr.study.recipes import Study
from sbr.study.state import (
    NOTE,
    Note,
    check_job,
    inputs_of,
    note_folder,
    read_note,
    recipe_fingerprint,
    state_at_rest,
    write_note,
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job has ended; `words` are the error, or who holds it."""

    how: Literal["finished", "found", "failed", "busy"]
    """found: another process had finished it meanwhile."""
    words: str = ""


def do_job(study: Study, job: StudyJob, bases: Mapping[str, str], bars: Callable[[], Bars]) -> Ended:
    """Do what is left of a job.  Its errors are an outcome; only StoppedError is raised."""
    try:
        with locked(note_folder(study, job.name)):
            return _do(study, job, bases, bars)
    except BusyError as error:
        return Ended("busy", str(error))
    except OSError as error:  # the lock or the note cannot be written
        return Ended("failed", explain_os_error(error))


def note_failure(study: Study, job: str, words: str) -> None:
    """For a job whose process could not say so itself."""
    note = read_note(study, job) or Note("begun", "", {})
    write_note(study, job, replace(note, state="failed", error=words))


def _do(study: Study, job: StudyJob, bases: Mapping[str, str], bars: Callable[[], Bars]) -> Ended:
    note = read_note(study, job.name) or Note("begun", "", {})
    try:
        if state_at_rest(study, job) == "finished":
            return Ended("found")
        check_job(study, job, bases)
        recipe = study.recipe(job)
        note = Note("begun", recipe_fingerprint(recipe), inputs_of(study, job, bases))
        write_note(study, job.name, note)
        jobs.do(recipe, bars)
    except (BusyError, StoppedError):
        raise
    except Exception as error:
        words, text = _words(study, job, error)
        write_note(study, job.name, replace(note, state="failed", error=text))
        return Ended("failed", words)
    write_note(study, job.name, replace(note, state="finished"))
    return Ended("finished")


def _words(study: Study, job: StudyJob, error: Exception) -> tuple[str, str]:
    """What to say of an error, and what to keep of it."""
    if isinstance(error, SbrError):
        return str(error), str(error)
    if isinstance(error, OSError):
        return explain_os_error(error), explain_os_error(error)
    text = "".join(traceback.format_exception(error))
    if (words := out_of_memory(error, job.verb)) is not None:
        return words, text
    return f"{type(error).__name__}: {error} (traceback in {note_folder(study, job.name) / NOTE})", text
