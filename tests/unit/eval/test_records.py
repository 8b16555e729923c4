"""records.jsonl: round trip, torn last lines, damage, duplicates, locking."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.errors import BusyError, DataError
from sbr.eval.records import LINES, RecordKey, read_records, record_key, record_line, records_file
from sbr.resume.journal import Journal
from sbr.reward.answer import extract_answer
from sbr.types import EvalRecord

RECORD = EvalRecord(
    sample_id="115",
    level="L1",
    domain="Daily life",
    sample_index=0,
    prompt="<|im_start|>user\nWhat next?",
    options=("open tap", "close tap"),
    response="<think>x</think><answer>A</answer>",
    extracted="A",
    gold="B",
    correct=False,
    rule="official",
    completion_tokens=7,
    truncated=False,
    seconds=0.25,
)
NONE = replace(RECORD, sample_id="116", response="<think>x", extracted=None, truncated=True)
ODD = replace(
    RECORD, sample_id="117", extracted=None, response='"\u2028\u0085\r\n\x00\U0001f170', options=("", "\u6253\u5f00")
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "records.jsonl"


def write(file: Path, *records: EvalRecord) -> None:
    with Journal(file, LINES) as records_file:
        records_file.append(records)


def test_round_trip(file):
    write(file, RECORD, NONE)
    write(file, ODD)
    assert read_records(file) == [RECORD, NONE, ODD]
    assert file.read_bytes().count(b"\n") == 3


@given(text=st.text(), options=st.lists(st.text(), min_size=2, max_size=5), seconds=st.floats(0, 1e6))
@settings(max_examples=50, deadline=None)
def test_any_text_survives_the_round_trip(tmp_path_factory, text, options, seconds):
    letter = extract_answer(text, options, "official").letter
    record = replace(RECORD, response=text, prompt=text, options=tuple(options), seconds=seconds)
    record = replace(record, extracted=letter, correct=letter == record.gold)
    file = tmp_path_factory.mktemp("records") / "records.jsonl"
    write(file, record)
    assert read_records(file) == [record]


def test_keys_on_disk_are_those_of_the_issue(file):
    write(file, replace(RECORD, video_id="P01_13", scenario="cooking"))
    wanted = (
        "sample_id level domain prompt options response extracted gold correct rule completion_tokens truncated seconds"
    )
    assert set(wanted.split()) | {"sample_index", "video_id", "scenario"} == set(json.loads(file.read_text("utf-8")))


def test_records_older_than_the_video_are_read_and_written_as_they_were(file):
    newer = ("video_id", "scenario", "groups", "control", "rotation")
    old = {key: value for key, value in asdict(NONE).items() if key not in newer}
    line = json.dumps(old, ensure_ascii=False) + "\n"
    file.parent.mkdir()
    file.write_text(line, "utf-8")
    (record,) = read_records(file)
    assert record == NONE
    assert (record.video_id, record.scenario, record.extracted) == (None, None, None)
    assert (record.groups, record.control, record.rotation) == ((), "none", 0)
    assert record_line(record) == line
    assert '"extracted": null' in line, "what is required stays, null or not"


def test_groups_control_and_rotation_are_kept(file):
    groups = (("duration", "(8,15]"), ("category", "S2E"))
    turned = [replace(RECORD, groups=groups, control="blind", rotation=r) for r in (0, 3)]
    write(file, *turned)
    assert read_records(file) == turned
    assert [record_key(record) for record in turned] == [RecordKey("L1", "115", 0), RecordKey("L1", "115", 0, 3)]
    line = json.loads(file.read_text("utf-8").splitlines()[0])
    assert line["groups"] == [["duration", "(8,15]"], ["category", "S2E"]]
    assert "rotation" not in line


def test_a_path_of_records_is_the_file_or_its_folder(file):
    write(file, RECORD)
    assert records_file(file.parent) == records_file(file) == file
    assert records_file(file.parent / "strict.jsonl") == file.parent / "strict.jsonl"


def test_an_unfinished_evaluation_is_read_only_when_its_file_is_named(file):
    write(file, RECORD)
    (file.parent / "recipe.json").write_text("{}")
    with pytest.raises(DataError, match=rf"(?s)no summary\.json.*interrupted.*again, or give {file} to use"):
        records_file(file.parent)
    assert records_file(file) == file
    (file.parent / "summary.json").write_text("{}")
    assert records_file(file.parent) == file


@pytest.mark.parametrize("cut", [1, 2, 40, len(record_line(NONE).encode()) - 1])
def test_torn_last_line_is_cut_off_and_its_question_open_again(file, cut):
    write(file, RECORD, NONE)
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with pytest.raises(DataError, match=r"records\.jsonl:2: the last line is torn"):
        read_records(file)
    with Journal(file, LINES) as records:
        assert records.done == {record_key(RECORD): RECORD}
        records.append([NONE])
    assert file.read_bytes() == whole


def test_file_that_is_one_torn_line_becomes_empty(file):
    file.parent.mkdir()
    file.write_text('{"sample_id": "1')
    with Journal(file, LINES) as records:
        assert records.done == {}
    assert file.read_bytes() == b""


def test_an_answered_question_cannot_be_written_twice(file):
    write(file, RECORD)
    with (
        Journal(file, LINES) as records,
        pytest.raises(DataError, match=r"question 115 of L1 \(sample 0\) would be answered twice"),
    ):
        records.append([replace(RECORD, response="other")])
    write(file, replace(RECORD, sample_index=1), replace(RECORD, level="L2"))
    assert [record_key(record) for record in read_records(file)] == [
        RecordKey("L1", "115", 0),
        RecordKey("L1", "115", 1),
        RecordKey("L2", "115", 0),
    ]


def test_duplicates_on_disk_are_an_error_with_both_lines(file):
    write(file, RECORD, NONE)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(record_line(RECORD))
    message = r"records\.jsonl:3: question 115 of L1 \(sample 0\) is already answered in line 1"
    with pytest.raises(DataError, match=message):
        read_records(file)
    with pytest.raises(DataError, match=message), Journal(file, LINES):
        pass


def changed(**values: object) -> str:
    return json.dumps(asdict(RECORD) | values)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in asdict(RECORD).items() if name != key})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[]", "not a record"),
        (without("gold"), "not a record: gold is missing"),
        (changed(score=1), "not a record: score is unknown"),
        (changed(correct="yes"), "correct is 'yes'"),
        (changed(sample_index="0"), "sample_index is '0'"),
        (changed(options="AB"), "options is 'AB'"),
        (changed(seconds=None), "seconds is None"),
        (changed(video_id=13), "video_id is 13"),
        (changed(response="A" * 5000, correct=[0] * 5000), "correct is [0, 0"),
        (changed(correct=True), "correct is True, expected False, for 'A' was read and 'B' is right"),
        (changed(extracted="B"), "extracted is 'B', expected 'A', which the rule official reads"),
        (changed(extracted=None), "extracted is None, expected 'A', which the rule official reads"),
        (changed(gold="Z"), "gold is 'Z', expected one of A, B"),
        (changed(gold="C"), "gold is 'C', expected one of A, B"),
        (changed(gold=""), "gold is '', expected one of A, B"),
        (changed(options=[]), "gold is 'B', expected one of "),
        (changed(rule="mine"), "rule is 'mine', expected one of official, care, strict"),
        ("[" * 200_000, "not JSON"),
    ],
)
def test_bad_line_in_the_middle_is_an_error_with_its_place(file, line, message):
    file.parent.mkdir()
    file.write_text(record_line(RECORD) + line + "\n" + record_line(NONE), "utf-8")
    for read in (lambda: read_records(file), lambda: Journal(file, LINES).__enter__()):
        with pytest.raises(DataError) as caught:
            read()
        assert f"records.jsonl:2: {message}" in str(caught.value)
    assert file.read_text("utf-8").count("\n") == 3, "nothing was cut or repaired"


def test_bytes_that_are_no_text_are_an_error_with_its_place(file):
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\n" + record_line(RECORD).encode())
    with pytest.raises(DataError, match=r"records\.jsonl:1: not JSON"):
        read_records(file)


def test_what_is_no_file_or_too_large_is_not_read(file, monkeypatch):
    file.parent.mkdir()
    file.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"records\.jsonl is no ordinary file"):
        read_records(file)
    file.unlink()
    write(file, RECORD)
    for module in ("resume.journal", "eval.records"):
        monkeypatch.setattr(f"sbr.{module}.MOST_BYTES", 100)
    for read in (lambda: read_records(file), lambda: Journal(file, LINES).__enter__()):
        with pytest.raises(DataError, match=r"records\.jsonl holds more than 100 bytes"):
            read()


def test_missing_file_is_an_error(file):
    with pytest.raises(DataError, match="does not exist"):
        read_records(file)


def test_two_processes_cannot_write_one_file(file):
    write(file, NONE)
    code = (
        "import sys, pathlib; from sbr.eval.records import LINES; from sbr.resume.journal import Journal\n"
        "with Journal(pathlib.Path(sys.argv[1]), LINES): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another process is writing"), Journal(file, LINES):
            pass
        other.communicate()
    write(file, RECORD)
