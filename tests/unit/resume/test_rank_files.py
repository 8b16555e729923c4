"""Files of several processes become one, whatever was interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.errors import BusyError, DataError
from sbr.eval.records import LINES, RECORDS, read_records, record_line, records_file
from sbr.resume.journal import Journal
from sbr.resume.rank_files import LineCount, collect, rank_file
from sbr.types import EvalRecord

RECORD = EvalRecord(
    sample_id="0",
    level="L1",
    domain="Daily life",
    sample_index=0,
    prompt="p",
    options=("open tap", "close tap"),
    response="<answer>A</answer>",
    extracted="A",
    gold="B",
    correct=False,
    rule="official",
    completion_tokens=7,
    truncated=False,
    seconds=0.25,
)


def some(*ids: int) -> list[EvalRecord]:
    return [replace(RECORD, sample_id=str(i)) for i in ids]


def write(file: Path, records: list[EvalRecord], torn: str = "") -> None:
    file.write_text("".join(map(record_line, records)) + torn, "utf-8")


def collected(folder: Path) -> list[EvalRecord]:
    with Journal(folder / RECORDS, LINES) as records:
        collect(records)
        assert list(records.done.values()) == read_records(folder / RECORDS)
    return read_records(folder / RECORDS)


def test_answers_of_all_parts_are_moved_and_the_parts_are_gone(tmp_path):
    write(tmp_path / RECORDS, some(0))
    for rank in (1, 2, 10):
        write(rank_file(tmp_path / RECORDS, rank), some(rank), torn='{"sample_id": "9')
    write(tmp_path / "records-strict.jsonl", some(7))
    assert collected(tmp_path) == some(0, 1, 2, 10), "in the order of ranks; the torn line counts for nothing"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["records-strict.jsonl", RECORDS]


def test_a_collection_killed_before_the_part_was_deleted_is_repeated_without_doubling(tmp_path):
    write(tmp_path / RECORDS, some(0, 1))
    write(rank_file(tmp_path / RECORDS, 1), some(1, 2))
    assert collected(tmp_path) == some(0, 1, 2)


def test_parts_of_another_evaluation_are_refused_and_kept(tmp_path):
    write(tmp_path / RECORDS, some(0))
    write(rank_file(tmp_path / RECORDS, 1), [replace(RECORD, response="<answer>A</answer>!")])
    with (
        Journal(tmp_path / RECORDS, LINES) as records,
        pytest.raises(DataError, match=r"answer question 0 of L1 \(sample 0\) differently"),
    ):
        collect(records)
    assert rank_file(tmp_path / RECORDS, 1).exists()


@pytest.mark.parametrize(
    "name", ["records-7b.jsonl", "records-2nd-strict.jsonl", "records-0.jsonl", "records-1.jsonl~"]
)
def test_files_with_similar_names_are_no_parts(tmp_path, name):
    write(tmp_path / RECORDS, some(0))
    write(tmp_path / name, some(0, 1))
    assert collected(tmp_path) == some(0)
    assert read_records(tmp_path / name) == some(0, 1)
    assert records_file(tmp_path) == tmp_path / RECORDS


def test_a_part_that_is_still_being_written_is_refused(tmp_path):
    with Journal(rank_file(tmp_path / RECORDS, 1), LINES) as part:
        part.append(some(1))
        with (
            Journal(tmp_path / RECORDS, LINES) as records,
            pytest.raises(BusyError, match=r"another process is writing .*records-1\.jsonl"),
        ):
            collect(records)
    assert collected(tmp_path) == some(1)


def test_unfinished_parts_are_not_read_as_a_result(tmp_path):
    write(tmp_path / RECORDS, some(0))
    assert records_file(tmp_path) == tmp_path / RECORDS
    write(rank_file(tmp_path / RECORDS, 1), some(1))
    with pytest.raises(DataError, match=r"records-1\.jsonl holds answers that are not yet in records\.jsonl"):
        records_file(tmp_path)


def test_a_file_that_was_replaced_while_waiting_for_its_lock_is_not_written(tmp_path, monkeypatch):
    """The other process has the lock, deletes the file and lets go between our opening and our locking."""
    write(rank_file(tmp_path / RECORDS, 1), some(1))
    monkeypatch.setattr("fcntl.flock", lambda *_: rank_file(tmp_path / RECORDS, 1).unlink())
    with pytest.raises(BusyError, match="has just finished"):
        Journal(rank_file(tmp_path / RECORDS, 1), LINES).__enter__()


def test_lines_are_counted_as_the_files_grow(tmp_path):
    count = LineCount(tmp_path / RECORDS)
    assert count.read() == 0
    line = record_line(RECORD)
    (tmp_path / RECORDS).write_text(line * 5)
    rank_file(tmp_path / RECORDS, 1).write_text(line + line[:9])
    assert count.read() == 1
    rank_file(tmp_path / RECORDS, 1).write_text(line * 2)
    rank_file(tmp_path / RECORDS, 2).write_text(line * 3)
    assert count.read() == count.read() == 5
    assert json.loads(line)["sample_id"] == "0"
