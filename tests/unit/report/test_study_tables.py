"""study.md and study.json."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from study_runs import study

from sbr.analysis.study import Study, study_of
from sbr.analysis.study_runs import StudyRun
from sbr.errors import DataError
from sbr.report.study_tables import STUDY_JSON, read_study, study_json, study_tables, write_study

ARMS = {"base": -0.3, "SFT": 0.8, "GRPO": 1.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[StudyRun]:
    return study(folder, ARMS, seeds=2, questions={"L1": 40, "L3": 60})


@pytest.fixture(scope="module")
def made(runs: list[StudyRun]) -> Study:
    return study_of(runs, resamples=100)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_tables_have_the_figures(folder: Path, runs: list[StudyRun]) -> None:
    file = write_study(runs, folder)
    found = rows(file.read_text())
    assert found[0][:4] == ["arm", "base", "seeds", "L1"] and found[0][-2:] == ["seconds", "processes"]
    made = read_study(folder)
    figure = next(f for f in made.figures if (f.arm, f.base, f.column.name) == ("GRPO", "mini", "L1"))
    (row,) = [row for row in found if row[:3] == ["GRPO", "mini", "2"]]
    assert figure.figure.interval is not None and figure.sd is not None
    assert row[3] == (
        f"{100 * figure.figure.mean:.2f} [{100 * figure.figure.interval.low:.2f}, "
        f"{100 * figure.figure.interval.high:.2f}], sd {100 * figure.sd:.2f}"
    )
    assert row[-6:] == ["60", "540", "6,000", "5,400", "360", "2"]
    assert [row[-6:] for row in found if row[:2] == ["base", "mini"]] == [["-"] * 6]
    (pair,) = [row for row in found if row[:2] == ["GRPO - SFT", "mean of 2"]]
    assert pair[2] == "2" and " p " in pair[3]
    assert "distill by 4 runs" not in file.read_text() and "distill by 2 runs" in file.read_text()


def test_json_is_read_back_and_may_be_moved(tmp_path: Path, folder: Path, runs: list[StudyRun]) -> None:
    write_study(runs, folder)
    saved = json.loads((folder / STUDY_JSON).read_text())
    assert saved["runs"][1]["evaluation"] == "mini/SFT/seed_0/eval"
    moved = shutil.copytree(folder, tmp_path / "moved")
    found, there = read_study(moved), read_study(folder)
    assert found.runs[1].evaluation == moved / "mini/SFT/seed_0/eval"
    assert found.figures == there.figures and found.pairs == there.pairs
    assert study_of(found.runs).figures == found.figures
    assert study_json(found, moved) == study_json(there, folder)


def test_runs_elsewhere_keep_their_whole_paths(tmp_path: Path, folder: Path, made: Study) -> None:
    saved = json.loads(study_json(made, tmp_path))
    assert saved["runs"][1]["evaluation"] == str((folder / "mini/SFT/seed_0/eval").resolve())


def test_one_base_has_no_column_for_it_and_one_arm_no_differences(runs: list[StudyRun]) -> None:
    (table,) = study_tables(study_of([run for run in runs if (run.arm, run.base) == ("GRPO", "mini")], resamples=50))
    assert table.header[:3] == ("arm", "seeds", "L1") and table.rows[0][:2] == ("GRPO", "2")


def test_what_is_missing_is_said(runs: list[StudyRun]) -> None:
    some = [run for run in runs if (run.arm, run.base, run.seed) != ("GRPO", "mini", 1)]
    arms, differences = study_tables(study_of(some, resamples=50))
    assert "GRPO lacks seed 1 of mini." in arms.note and "with one seed an interval counts questions alone" in arms.note
    assert [row[2] for row in arms.rows if row[:2] == ("GRPO", "mini")] == ["1 (not counted)"]
    assert [row[2] for row in differences.rows if row[:2] == ("GRPO - SFT", "mini")] == ["1 (not counted)"]
    gone = replace(some[1], stages=(Path("/nowhere/sft"),))
    arms, _ = study_tables(study_of([some[0], gone], resamples=50))
    assert arms.rows[1][-6:] == ("not recorded",) * 6 and "Folders that are gone: /nowhere/sft." in arms.note


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; `sbr study` writes it"),
        ("{}", "is not a study: runs: Field required"),
        ("x", "is not a"),
    ],
)
def test_a_damaged_study_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / STUDY_JSON).write_text(content)
    with pytest.raises(DataError, match=message):
        read_study(tmp_path)
