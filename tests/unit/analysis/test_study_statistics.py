"""A study of hand-made runs: what is paired with what, what is counted, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_runs import answer, evaluation, sample_of
from study_runs import study

from sbr.analysis.study import ALL_PAIRS, Study, study_of
from sbr.analysis.study_runs import StudyRun
from sbr.errors import ConfigError, DataError
from sbr.eval.stats import holm
from sbr.eval.summary import OVERALL

ARMS = {"base": -0.3, "SFT": 0.8, "GRPO": 1.1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StudyRun]:
    return study(tmp_path_factory.mktemp("study"), ARMS, seeds=3, questions={"L1": 40, "L3": 60})


@pytest.fixture(scope="module")
def made(runs: list[StudyRun]) -> Study:
    return study_of(runs, resamples=200)


def evaluations(folder: Path, right: dict[tuple[str, int], str], **values) -> list[StudyRun]:
    """{(arm, seed): "1101..."} -> finished evaluations on one base, trained on nothing that is kept."""
    found: list[StudyRun] = []
    for (arm, seed), outcomes in right.items():
        records = [
            replace(answer(sample_of(number), "A" if outcome == "1" else "B"), video_id=f"v{number}", **values)
            for number, outcome in enumerate(outcomes)
        ]
        place = evaluation(folder / f"{arm}_{seed}", records)
        found.append(StudyRun(arm, "mini", seed, place, () if arm == "base" else (folder / f"train_{arm}_{seed}",)))
    return found


def test_figures_are_those_of_the_records(made: Study, runs: list[StudyRun]) -> None:
    assert [column.name for column in made.columns] == ["L1", "L3", "L3 Daily life", "L3 Hobbies"]
    assert (made.arms, made.bases, made.by_video) == (("base", "SFT", "GRPO"), ("mini", "mini-late"), True)
    for figure in made.figures:
        if figure.base is None:
            continue
        own = [run for run in runs if (run.arm, run.base) == (figure.arm, figure.base)]
        column = figure.column
        accuracies = []
        for run in own:
            lines = (run.evaluation / "records.jsonl").read_text().splitlines()
            level = [line for line in lines if f'"level": "{column.level}"' in line]
            part = [line for line in level if column.part in (OVERALL, line.split('"domain": "')[1].split('"')[0])]
            accuracies.append(np.mean(['"correct": true' in line for line in part]))
            assert len(part) == column.questions
        assert figure.accuracies == pytest.approx(accuracies, abs=1e-12)
        assert figure.figure.mean == pytest.approx(np.mean(accuracies), abs=1e-12)
        assert figure.seeds == (() if figure.arm == "base" else (0, 1, 2))
        if len(accuracies) > 1:
            assert figure.sd == pytest.approx(np.std(accuracies, ddof=1))


def test_the_mean_over_bases_is_that_of_the_bases(made: Study) -> None:
    by = {(f.arm, f.base, f.column.name): f.figure.mean for f in made.figures}
    pairs = {(p.first, p.other, p.base, p.column.name): p.figure.mean for p in made.pairs}
    for arm in made.arms:
        assert by[arm, None, "L3"] == pytest.approx((by[arm, "mini", "L3"] + by[arm, "mini-late", "L3"]) / 2)
    for base in (*made.bases, None):
        assert pairs["SFT", "GRPO", base, "L1"] == pytest.approx(by["GRPO", base, "L1"] - by["SFT", base, "L1"])
        assert pairs["base", "SFT", base, "L1"] == pytest.approx(by["SFT", base, "L1"] - by["base", base, "L1"])


def test_p_values_are_corrected_for_the_pairs_of_a_base_and_column(made: Study) -> None:
    for base in (*made.bases, None):
        for column in made.columns:
            own = [pair for pair in made.pairs if (pair.base, pair.column) == (base, column)]
            assert [(pair.first, pair.other) for pair in own] == [("base", "SFT"), ("base", "GRPO"), ("SFT", "GRPO")]
            raw = [pair.figure.p_value for pair in own]
            assert None not in raw
            assert [pair.p_holm for pair in own] == holm([p for p in raw if p is not None])


def test_arms_are_compared_on_the_seeds_that_both_have(tmp_path: Path) -> None:
    outcomes = {
        **{("SFT", 0): "110" * 5, ("SFT", 1): "100" * 5, ("SFT", 3): "111" * 5},
        **{("GRPO", 0): "111" * 5, ("GRPO", 1): "110" * 5, ("GRPO", 2): "011" * 5},
    }
    found = study_of(evaluations(tmp_path, outcomes), resamples=50)
    (pair,) = found.pairs
    assert pair.seeds == (0, 1) and pair.counts_seeds
    assert pair.figure.mean == pytest.approx(1 / 3)
    assert [(m.arm, m.seeds) for m in found.missing] == [("SFT", (2,)), ("GRPO", (3,))]


def test_a_model_that_was_not_trained_stands_beside_every_seed(tmp_path: Path) -> None:
    outcomes = {("base", 0): "100" * 5, ("GRPO", 0): "110" * 5, ("GRPO", 1): "111" * 5}
    runs = evaluations(tmp_path, outcomes)
    found = study_of(runs, resamples=50)
    again = study_of([*runs, replace(runs[0], seed=1)], resamples=50)
    for one in (found, again):
        (pair,) = one.pairs
        assert pair.seeds == (0, 1) and pair.counts_seeds and pair.figure.mean == pytest.approx(0.5)
        (base,) = [figure for figure in one.figures if figure.arm == "base"]
        assert (base.seeds, base.sd, base.counts_seeds, len(base.accuracies)) == ((), None, True, 1)
        assert one.missing == ()


def test_one_seed_is_not_counted_and_no_common_seed_is_no_pair(tmp_path: Path) -> None:
    outcomes = {("SFT", 0): "110" * 5, ("GRPO", 0): "111" * 5, ("DAPO", 1): "111" * 5}
    found = study_of(evaluations(tmp_path, outcomes), resamples=50)
    assert [(pair.first, pair.other, pair.counts_seeds) for pair in found.pairs] == [("SFT", "GRPO", False)]
    assert not any(figure.counts_seeds for figure in found.figures)


def test_many_arms_are_compared_with_the_first(tmp_path: Path) -> None:
    runs = evaluations(tmp_path, {(f"arm {n}", 0): "110" * 5 for n in range(ALL_PAIRS + 1)})
    found = study_of(runs, resamples=50)
    assert not found.all_pairs and {pair.first for pair in found.pairs} == {"arm 0"} and len(found.pairs) == ALL_PAIRS
    some = study_of(runs, [("arm 3", "arm 1")], resamples=50)
    assert [(pair.first, pair.other) for pair in some.pairs] == [("arm 3", "arm 1")]


def test_an_arm_that_was_not_run_on_a_base(runs: list[StudyRun]) -> None:
    some = [run for run in runs if (run.arm, run.base) != ("GRPO", "mini-late")]
    found = study_of(some, resamples=50)
    assert [(m.arm, m.base, m.seeds) for m in found.missing] == [("GRPO", "mini-late", (0, 1, 2))]
    assert {figure.arm for figure in found.figures if figure.base is None} == {"base", "SFT"}


def test_records_without_videos(tmp_path: Path) -> None:
    runs = evaluations(tmp_path, {("SFT", 0): "110" * 5, ("GRPO", 0): "111" * 5})
    assert study_of(runs, resamples=50).by_video
    for run in runs:
        file = run.evaluation / "records.jsonl"
        lines = file.read_text().splitlines()
        file.write_text("".join(line.split(', "video_id"')[0] + "}\n" for line in lines))
    found = study_of(runs, resamples=50)
    assert not found.by_video and found.columns[0].clusters == 15


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    runs = evaluations(tmp_path, {("SFT", 0): "110" * 5, ("GRPO", 0): "111" * 5})
    with pytest.raises(ConfigError, match="at least one finished run"):
        study_of([])
    with pytest.raises(ConfigError, match="two runs of SFT, mini, seed 0"):
        study_of([*runs, runs[0]])
    with pytest.raises(ConfigError, match="SFT and DAPO are no two arms"):
        study_of(runs, [("SFT", "DAPO")])
    other = evaluations(tmp_path / "other", {("DAPO", 0): "110" * 4})
    with pytest.raises(DataError, match="cannot compare SFT, mini, seed 0 and DAPO, mini, seed 0: the question sets"):
        study_of([*runs, *other])
    shutil.rmtree(runs[0].evaluation)
    with pytest.raises(ConfigError, match="is not the folder of an evaluation"):
        study_of(runs)


def test_every_evaluation_that_was_read_is_told(tmp_path: Path) -> None:
    runs = evaluations(tmp_path, {("SFT", 0): "110" * 5, ("GRPO", 0): "111" * 5})
    told: list[tuple[int, int]] = []
    study_of(runs, watcher=lambda done, total: told.append((done, total)), resamples=50)
    assert told == [(1, 2), (2, 2)]
