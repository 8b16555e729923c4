"""One run holds a folder; the second is told by whom."""

import subprocess
import sys
from pathlib import Path

import pytest

from sbr.errors import BusyError
from sbr.resume.lock import LOCK, locked

HOLD = """
import pathlib, sys
from sbr.resume.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_run_is_told_who_the_first_is_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = rf"{folder} is being written by process {other.pid} on .* since 20.*\(-c .*run\); wait for it"
        with pytest.raises(BusyError, match=message), locked(folder):
            pass
        assert (folder / LOCK).exists(), "the other one still holds it"
        other.kill()
    assert (folder / LOCK).exists(), "it could not clean up"
    with locked(folder):
        pass
    assert list(folder.iterdir()) == []


def test_nothing_stays_of_a_run_that_wrote_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), locked(tmp_path / "a" / "b"):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a"):
        (tmp_path / "a" / "records.jsonl").write_text("")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["records.jsonl"]


def test_a_lock_whose_file_was_removed_meanwhile_is_not_believed(tmp_path: Path, monkeypatch) -> None:
    """The holder gives it back between our opening and our locking."""
    monkeypatch.setattr("fcntl.flock", lambda *_: (tmp_path / LOCK).unlink())
    with pytest.raises(BusyError, match="is being written by another process"), locked(tmp_path):
        pass
