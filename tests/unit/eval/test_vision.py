"""What part of a score is not vision: runs under several controls."""

from dataclasses import replace

import pytest

from sbr.errors import ConfigError, DataError
from sbr.eval.compare import compare_records
from sbr.eval.summary import levels_of
from sbr.eval.vision import vision_share
from sbr.report.control_tables import letter_tables, rotation_tables, vision_tables
from sbr.types import EvalRecord


def run(flags: str, control: str = "none", rotation: int = 0) -> list[EvalRecord]:
    """One record a character, 1 right, 0 wrong; question 0 has two options, the others four."""
    return [
        EvalRecord(
            sample_id=str(i),
            level="L1",
            domain="Daily life",
            sample_index=0,
            prompt="p",
            options=("w", "x", "y", "z")[: 4 if i else 2],
            response="r",
            extracted="A" if flag == "1" else "B",
            gold="A",
            correct=flag == "1",
            rule="official",
            completion_tokens=1,
            truncated=False,
            seconds=0.1,
            control=control,
            rotation=rotation,
        )
        for i, flag in enumerate(flags)
    ]


FULL, BLIND, IMAGE = run("11110"), run("10100", "blind"), run("11100", "no_video")


def test_accuracies_by_control_and_what_showing_more_adds():
    vision = vision_share({"f": FULL, "b": BLIND, "i": IMAGE})
    assert vision is not None
    (level,) = vision.levels
    assert level.chance == (1 / 2 + 4 / 4) / 5
    assert [(name, part.accuracy) for name, part in level.accuracies.items()] == [
        ("blind", 0.4),
        ("no_video", 0.6),
        ("none", 0.8),
    ]
    assert [(gain.base_name, gain.other_name) for gain in vision.gains] == [("b", "f"), ("i", "f")]
    assert vision.gains[0].slices == compare_records(BLIND, FULL, "b", "f", other_control=True).slices
    tables = vision_tables(vision)
    assert tables[0].header == ("", "n", "chance", "blind", "image only", "all shown")
    assert [cell.split(" ")[0] for cell in tables[0].rows[0]] == ["L1", "5", "30.00", "40.00", "60.00", "80.00"]
    assert [table.title for table in tables[1:]] == ["f against b", "f against i"]
    assert tables[1].rows[0][4].startswith("+40.00")


def turned(flags: str, control: str = "none") -> list[EvalRecord]:
    """All rotations, those but the first wrong."""
    first = run(flags, control)
    return first + [
        replace(record, rotation=r, correct=False, extracted=None)
        for record in first
        for r in range(1, len(record.options))
    ]


def test_rotated_runs_are_compared_in_the_benchmarks_order_unless_all_are_rotated():
    plain = vision_share({"f": FULL, "b": BLIND})
    assert plain is not None
    for runs in ({"f": turned("11110"), "b": BLIND}, {"f": FULL, "b": turned("10100", "blind")}):
        assert vision_share(runs) == plain
    # The run without rotations is taken where both are given.
    assert vision_share({"r": turned("00000"), "f": FULL, "b": BLIND}) == plain
    every = vision_share({"f": turned("11110"), "b": turned("10100", "blind")})
    assert every is not None
    assert every.levels[0].accuracies["none"].accuracy == pytest.approx((1 / 2 + 3 / 4) / 5)


def test_refusals():
    assert vision_share({"f": FULL}) is None
    assert vision_share({"f": FULL, "r": turned("11110")}) is None
    with pytest.raises(ConfigError, match="a and b both have the control 'none'"):
        vision_share({"a": FULL, "b": FULL})
    with pytest.raises(ConfigError, match="none of these runs shows video and image"):
        vision_share({"a": BLIND, "b": IMAGE})
    with pytest.raises(ConfigError, match="a mixes the controls blind, none"):
        vision_share({"a": FULL + [replace(one, sample_id="9") for one in BLIND], "b": IMAGE})
    with pytest.raises(DataError, match="question sets differ"):
        vision_share({"a": FULL, "b": BLIND[:3]})


def test_tables_of_rotations_and_letters():
    runs = {"full": levels_of(FULL), "rotated": levels_of(turned("11110"))}
    (rotations,) = rotation_tables(runs)
    assert rotations.header[4:] == ("+0", "+1", "+2", "+3")
    assert [row[0] for row in rotations.rows] == ["rotated L1"]
    assert rotations.rows[0][4:] == ("80.00", "0.00", "0.00", "0.00")
    assert rotations.rows[0][2].startswith("0.00 [")
    assert rotation_tables({"full": levels_of(FULL)}) == []
    (letters,) = letter_tables({"full": levels_of(FULL)})
    assert letters.title == "full, letters"
    assert letters.rows[0][:4] == ("L1 A", "100.00", "80.00", "80.00")
    assert letters.rows[1][:4] == ("L1 B", "0.00", "20.00", "-")
    assert [row[0] for row in letters.rows] == ["L1 A", "L1 B", "L1 C", "L1 D", "L1 none"]
    assert letter_tables({"old": [replace(levels_of(FULL)[0], letters=None)]}) == []
