"""Saved answers under another rule: against the hand-checked readings of tests/golden."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sbr.errors import ConfigError, DataError
from sbr.eval.records import LINES, read_records, record_line
from sbr.eval.rescore import LevelScores, rescore, rescore_file, scores_of_levels
from sbr.resume.journal import Journal
from sbr.types import EvalRecord

GOLDEN = Path(__file__).parents[2] / "golden" / "answers.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]


def golden_records(rule: str) -> list[EvalRecord]:
    """Every golden response as a record scored by `rule`; the gold letter is B.  Levels and videos in turn."""
    return [
        EvalRecord(
            sample_id=f"{i}",
            level=("L2", "L1")[i % 2],
            domain="Daily life",
            sample_index=0,
            prompt="p\u2028",
            options=tuple(case["options"]),
            response=case["response"],
            extracted=case[rule],
            gold="B",
            correct=case[rule] == "B",
            rule=rule,
            completion_tokens=3,
            truncated=i % 5 == 0,
            seconds=0.1 * i,
            video_id=f"P{i % 7}" if i % 3 else None,
            groups=(("duration", "(8,15]"),) if i % 2 else (),
            control=("none", "blind")[i % 4 == 0],
            rotation=i % 3,
        )
        for i, case in enumerate(CASES)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with Journal(tmp_path / "run" / "records.jsonl", LINES) as file:
        file.append(golden_records("official"))
    return tmp_path / "run" / "records.jsonl"


@pytest.mark.parametrize("rule", ["official", "care", "strict"])
def test_every_golden_answer_as_if_it_had_been_scored_so_at_once(source, tmp_path, rule):
    before, after = rescore_file(source, rule, tmp_path / "new" / "out.jsonl")
    assert before == golden_records("official")
    assert after == golden_records(rule)
    assert read_records(tmp_path / "new" / "out.jsonl") == after
    assert (tmp_path / "new" / "out.jsonl").read_text("utf-8") == "".join(map(record_line, golden_records(rule)))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out.jsonl"]


def test_the_same_rule_gives_the_same_bytes(source, tmp_path):
    rescore_file(source, "official", tmp_path / "same.jsonl")
    assert (tmp_path / "same.jsonl").read_bytes() == source.read_bytes()


def test_only_three_fields_change():
    record = golden_records("official")[3]
    other = rescore(record, "care")
    assert replace(other, extracted=record.extracted, correct=record.correct, rule=record.rule) == record


def test_counts_per_level(source, tmp_path):
    before, after = rescore_file(source, "strict", tmp_path / "strict.jsonl")
    scores = scores_of_levels(before, after)
    assert [level.level for level in scores] == ["L1", "L2"]
    for level, cases in zip(scores, (CASES[1::2], CASES[::2]), strict=True):
        assert level == LevelScores(
            level=level.level,
            answers=len(cases),
            before=sum(case["official"] == "B" for case in cases),
            after=sum(case["strict"] == "B" for case in cases),
            unread_before=sum(case["official"] is None for case in cases),
            unread_after=sum(case["strict"] is None for case in cases),
            gained=sum(case["strict"] == "B" != case["official"] for case in cases),
            lost=sum(case["official"] == "B" != case["strict"] for case in cases),
        )
    assert sum(level.gained for level in scores) > 0, "the rules differ on the golden answers"


def test_the_input_is_never_overwritten_under_any_name(source, tmp_path):
    content = source.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(source)
    (tmp_path / "hard.jsonl").hardlink_to(source)
    for out in (
        source,
        source.parent / ".." / "run" / "records.jsonl",
        tmp_path / "link.jsonl",
        tmp_path / "hard.jsonl",
    ):
        with pytest.raises(ConfigError, match="the file that is read"):
            rescore_file(source, "strict", out)
    assert source.read_bytes() == content


def test_answers_of_another_evaluation_are_not_overwritten(source, tmp_path):
    other = tmp_path / "other" / "records.jsonl"
    other.parent.mkdir()
    (other.parent / "recipe.json").write_text("{}")
    for exists in (False, True):
        with pytest.raises(ConfigError, match="belongs to the evaluation in"):
            rescore_file(source, "strict", other)
        assert other.exists() == exists
        other.write_text("answers")
    assert other.read_text() == "answers"
    with pytest.raises(ConfigError, match="is a folder"):
        rescore_file(source, "strict", tmp_path / "run")


def test_an_earlier_output_is_replaced_and_a_failed_one_leaves_it(source, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    rescore_file(source, "care", out)
    rescore_file(source, "strict", out)
    whole = out.read_bytes()
    assert read_records(out) == golden_records("strict")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        rescore_file(source, "care", out)
    assert out.read_bytes() == whole
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "run"]


def test_nothing_else_is_overwritten(source, tmp_path):
    """An annotation file was, in whose place the records then stood."""
    out = tmp_path / "out.jsonl"
    rescore_file(source, "care", out)
    answers = out.read_bytes()
    others = (
        b'{"video_id": "P01"}\n',
        b"",
        answers[: answers.index(b"\n") + 1],
        answers.replace(b"answer>B", b"answer>A"),
    )
    for content in others:
        out.write_bytes(content)
        with pytest.raises(ConfigError, match="holds something else than these answers; it is left as it is"):
            rescore_file(source, "strict", out)
        assert out.read_bytes() == content
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for out in (loop, Path("/dev/null")):
        with pytest.raises(ConfigError, match="holds something else"):
            rescore_file(source, "strict", out)


def test_damaged_records_are_an_error_and_nothing_is_written(source, tmp_path):
    source.write_bytes(source.read_bytes()[:-9])
    with pytest.raises(DataError, match="the last line is torn"):
        rescore_file(source, "strict", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="does not exist"):
        rescore_file(tmp_path / "nowhere.jsonl", "strict", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
