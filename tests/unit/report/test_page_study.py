"""The page of a study: arms as means, one seed of each for answers, what is left out and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study_runs import study

from sbr.errors import ConfigError
from sbr.report.page.assembly import PageOptions, make_page
from sbr.report.page.data import PageData
from sbr.report.page.inputs import PageRuns, find_runs
from sbr.report.study_tables import read_study, write_study

ARMS = {"base": -0.3, "SFT": 0.8, "SFT, then GRPO": 1.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    write_study(study(place, ARMS, seeds=3, questions={"L1": 40, "L3": 60}), place)
    return place


@pytest.fixture(scope="module")
def runs(folder: Path) -> PageRuns:
    return find_runs([folder])


@pytest.fixture(scope="module")
def page(runs: PageRuns) -> PageData:
    return make_page(runs, PageOptions("a study", cases=5, frames=False)).data


def test_one_seed_of_every_arm_is_read(runs: PageRuns, folder: Path) -> None:
    assert [run.name for run in runs.asked] == list(ARMS)
    assert [run.folder.parent.relative_to(folder).as_posix() for run in runs.asked] == [
        "mini/base/seed_0",
        "mini/SFT/seed_0",
        "mini/SFT_then_GRPO/seed_0",
    ]
    assert runs.study is not None and runs.study.seeds == {"base": None, "SFT": 0, "SFT, then GRPO": 0}
    assert {base: [(arm.name, len(arm.runs)) for arm in arms] for base, arms in runs.study.arms.items()} == {
        base: [("SFT (3 seeds)", 3), ("SFT, then GRPO (3 seeds)", 3), ("SFT, then GRPO (3 seeds)", 3)]
        for base in ("mini", "mini-late")
    }


def test_the_first_screen_has_the_means_of_the_study(page: PageData, folder: Path) -> None:
    found = read_study(folder)
    assert page.columns == ("L1 Daily life", "L3 Daily life", "L3 Hobbies", "L3 Overall")
    rows = [row for row in page.results if not row.paper]
    assert [row.name for row in rows] == list(ARMS) and any(row.paper for row in page.results)
    for row in rows:
        for cell, (level, part) in zip(
            row.cells, (("L1", "Overall"), ("L3", "Daily life"), ("L3", "Hobbies"), ("L3", "Overall")), strict=True
        ):
            (figure,) = [
                f
                for f in found.figures
                if (f.arm, f.base, f.column.level, f.column.part) == (row.name, None, level, part)
            ]
            assert cell is not None and figure.figure.interval is not None
            assert (cell.value, cell.low) == (figure.figure.mean, figure.figure.interval.low)
    assert page.counted == "seeds and questions"
    expected = [p for p in found.pairs if p.base is None and p.column.part == "Overall"]
    assert [(d.base, d.other, d.level, d.value, d.p_holm) for d in page.differences] == [
        (p.first, p.other, p.column.level, p.figure.mean, p.p_holm) for p in expected
    ]
    assert len(page.findings) == 3 and page.findings[0].startswith("SFT is right more often than base: L1")
    assert "seeds and questions" in page.findings_note and "McNemar" not in page.findings_note


def test_the_chapter_has_every_base_and_seed(page: PageData) -> None:
    section = page.sections[0]
    assert (section.id, [bars.title for bars in section.bars]) == ("study", ["L1", "L3", "L3 Daily life", "L3 Hobbies"])
    bars = section.bars[0].bars
    assert [bar.series for bar in bars[:3]] == ["mini", "mini-late", "mean of 2"]
    assert [len(bar.points) for bar in bars if bar.group == "SFT"] == [3, 3, 0]
    assert len({figure.span for figure in section.bars}) == 1
    for bar in bars:
        low, high = section.bars[0].span or (0, 0)
        assert all(low <= value <= high for value in (*bar.points, bar.value.low or 0, bar.value.high or 1))
    assert [table.title.split(" ")[0] for table in section.tables] == ["Accuracy", "Differences", "What"]
    assert all("\N{NO-BREAK SPACE}" in cell for cell in section.tables[1].rows[0][3:])
    assert ("SFT, then GRPO", "mini-late", "100", "5,710", "9,000", "9,400", "510", "2") in section.tables[2].rows


def test_curves_are_those_of_arms_by_base(page: PageData) -> None:
    (section,) = [section for section in page.sections if section.id == "curves"]
    (reward,) = [curve for curve in section.curves if curve.title == "mini-late: Reward"]
    assert [(line.name, len(line.raw), line.low is not None) for line in reward.lines] == [
        ("SFT, then GRPO (3 seeds)", 3, True)
    ]
    (loss,) = [curve for curve in section.curves if curve.title == "mini: SFT: loss"]
    assert [line.name for line in loss.lines] == ["SFT (3 seeds)", "SFT, then GRPO (3 seeds)"]


def test_what_is_of_one_seed_alone_is_said(page: PageData) -> None:
    words = "Answers are those of seed 0 of each arm on mini, 3 of 14 runs."
    assert words in page.cases_note and page.limits[0].startswith(words)
    assert page.lead.startswith("A study of 14 runs: 3 arms on 2 bases, up to 3 seeds each.")
    assert [run.training for run in page.runs][2] == "SFT, 40 steps, then GRPO, 60 steps, seed 0, 9.5 minutes"
    assert not any("Several seeds were trained" in limit for limit in page.limits)
    assert all(len(case.answers) == 3 for case in page.cases)


def test_the_seed_that_most_arms_have_is_shown(tmp_path: Path) -> None:
    made = study(tmp_path, ARMS, bases=["mini"], seeds=3, questions={"L1": 40})
    write_study([run for run in made if (run.arm, run.seed) not in (("SFT", 0), ("SFT, then GRPO", 1))], tmp_path)
    runs = find_runs([tmp_path])
    assert runs.study is not None and runs.study.seeds == {"base": None, "SFT": 2, "SFT, then GRPO": 0}
    page = make_page(runs, PageOptions("a study", cases=2, frames=False)).data
    assert "Answers are those of seed 2 of SFT, 0 of SFT, then GRPO on mini" in page.cases_note
    assert "SFT lacks 0 of mini; SFT, then GRPO lacks 1 of mini" in " ".join(page.limits)
    assert page.sections[0].bars[0].bars[0].series == "mini"


def test_answers_of_other_seeds_are_not_needed(tmp_path: Path) -> None:
    """Nothing but study.json and the chosen evaluations is read of the answers."""
    write_study(study(tmp_path, ARMS, bases=["mini"], seeds=2, questions={"L1": 40}), tmp_path)
    for file in tmp_path.glob("*/*/seed_1/eval/records.jsonl"):
        file.write_text("gone")
    assert make_page(find_runs([tmp_path]), PageOptions("a study", cases=1, frames=False)).questions > 30


def test_a_study_is_shown_alone(folder: Path) -> None:
    with pytest.raises(ConfigError, match="shows nothing else; name the folder of the study alone"):
        find_runs([folder, folder / "mini"])
    with pytest.raises(ConfigError, match="--names is for single evaluations"):
        find_runs([folder], ["a", "b", "c"])


def test_a_study_whose_json_is_damaged_is_refused(tmp_path: Path) -> None:
    from sbr.errors import DataError

    (tmp_path / "study.json").write_text(json.dumps({"runs": 3}))
    with pytest.raises(DataError, match="is not a study: runs: "):
        find_runs([tmp_path])
