"""Rewriting a journal as a whole; appending and repairing are tested as records in tests/unit/eval/test_records.py."""

import errno
from dataclasses import dataclass
from pathlib import Path

import pytest
from full_disk import full_disk

from sbr.errors import BusyError
from sbr.resume.journal import Journal, LineFormat


@dataclass(frozen=True, slots=True)
class Note:
    number: int
    text: str
    remark: str | None = None


LINES = LineFormat(Note, lambda note: note.number, lambda number: f"note {number}")


def test_a_journal_can_be_put_in_order_and_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    with Journal(file, LINES) as journal:
        journal.append([Note(2, "b"), Note(1, "ä")])
        journal.rewrite([Note(1, "ä", "first"), Note(2, "b")])
    assert file.read_text("utf-8") == ('{"number": 1, "text": "ä", "remark": "first"}\n{"number": 2, "text": "b"}\n')
    with Journal(file, LINES) as journal:
        assert list(journal.done.values()) == [Note(1, "ä", "first"), Note(2, "b")]
        journal.append([Note(3, "c")])
    assert file.read_text("utf-8").count("\n") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_file_replaced_while_it_was_being_opened_is_not_written(tmp_path: Path, monkeypatch) -> None:
    """Else the lines would go into a file that has no name any more."""
    file = tmp_path / "notes.jsonl"
    file.write_text("")

    def replaced_meanwhile(*_: object) -> None:
        (tmp_path / "other").write_text("")
        (tmp_path / "other").replace(file)

    monkeypatch.setattr("fcntl.flock", replaced_meanwhile)
    with pytest.raises(BusyError, match="has just finished with"), Journal(file, LINES):
        pass


def test_a_file_is_made_by_its_first_record_and_by_one_process(tmp_path: Path) -> None:
    file = tmp_path / "new" / "notes.jsonl"
    with Journal(file, LINES) as journal:
        journal.append([])
        assert not file.parent.exists()
        with Journal(file, LINES) as other:
            other.append([Note(1, "a")])
        with pytest.raises(BusyError, match=r"has just made .*run the same command again"):
            journal.append([Note(1, "b")])
    with Journal(file, LINES) as journal:
        assert journal.done == {1: Note(1, "a")}


def test_a_full_disk_is_said_once_and_the_torn_line_is_cut_by_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    with pytest.raises(OSError) as caught, Journal(file, LINES) as journal:
        journal.append([Note(1, "a")])
        size = file.stat().st_size
        with full_disk(room=size + 10):
            journal.append([Note(2, "b" * 1000)])
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(file))
    assert file.stat().st_size == size + 10
    with Journal(file, LINES) as journal:
        assert list(journal.done.values()) == [Note(1, "a")]
