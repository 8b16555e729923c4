"""What arms took, added up from what their stages have logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_runs import training
from study_runs import distillation, logged

from sbr.analysis.study_costs import NONE_AT_ALL, NOT_RECORDED, Cost, added, costs_of, mean_cost
from sbr.analysis.study_runs import StudyRun
from sbr.errors import ConfigError, DataError


def run_of(seed: int, *stages: Path) -> StudyRun:
    return StudyRun("arm", "mini", seed, Path("eval"), stages)


def place(folder: Path, seed: int = 0) -> Path:
    return folder / f"seed_{seed}"


def test_steps_tokens_and_seconds_of_a_chain(tmp_path: Path) -> None:
    teacher = distillation(tmp_path / "distill")
    sft = logged(training(place(tmp_path) / "sft", "sft", 4, train={"prompts_per_step": 16}))
    grpo = logged(
        training(place(tmp_path) / "grpo", "grpo", 3, train={"prompts_per_step": 8}, algo={"updates_per_rollout": 2})
    )
    (found,) = costs_of([run_of(0, teacher, sft, grpo)])
    assert [stage.kind for stage in found.stages] == ["distillation", "SFT", "GRPO"]
    assert [stage.cost for stage in found.stages] == [
        Cost(0, 50, 3000, 0, 30.0, None),
        Cost(4, 64, 0, 400, pytest.approx(12.0), 2),
        Cost(6, 27, 300, 270, pytest.approx(18.0), 2),
    ]
    assert found.total == Cost(10, 141, 3300, 670, pytest.approx(60.0), 2)


def test_a_shared_stage_is_counted_in_full_for_each_run(tmp_path: Path) -> None:
    teacher = distillation(tmp_path / "distill")
    runs = [run_of(seed, teacher, logged(training(place(tmp_path, seed) / "sft", "sft", 4))) for seed in range(3)]
    found = costs_of(runs)
    assert [stage.shared_by for stage in found[0].stages] == [3, 1]
    assert [cost.total.sampled_tokens for cost in found] == [3000] * 3
    assert mean_cost([cost.total for cost in found]).sampled_tokens == 3000


def test_a_cold_start_is_a_stage(tmp_path: Path) -> None:
    grpo = logged(training(place(tmp_path) / "grpo", "grpo", 3))
    cold = training(grpo / "cold_start", "sft", 4)
    (found,) = costs_of([run_of(0, grpo)])
    assert [(stage.kind, stage.folder) for stage in found.stages] == [("SFT", cold), ("GRPO", grpo)]
    (named,) = costs_of([run_of(0, cold, grpo)])
    assert named == found


def test_what_is_not_logged_is_not_recorded(tmp_path: Path) -> None:
    old = training(place(tmp_path) / "grpo", "grpo", 3)
    (found,) = costs_of([run_of(0, old)])
    assert found.total == Cost(3, None, None, None, pytest.approx(18.0), None)
    silent = distillation(tmp_path / "distill")
    report = json.loads((silent / "report.json").read_text()) | {"tokens": None, "tokens_per_second": None}
    (silent / "report.json").write_text(json.dumps(report))
    (found,) = costs_of([run_of(0, silent)])
    assert found.total.sampled_tokens is None and found.total.seconds == 30


def test_steps_that_are_not_logged_are_counted(tmp_path: Path) -> None:
    sft = logged(training(place(tmp_path) / "sft", "sft", 5))
    lines = (sft / "metrics.jsonl").read_text().splitlines(keepends=True)
    (sft / "metrics.jsonl").write_text("".join([*lines[:2], *lines[3:]]))
    (found,) = costs_of([run_of(0, sft)])
    assert found.stages[0].lost_steps == 1
    assert (found.total.optimizer_steps, found.total.trained_tokens) == (5, 400)


def test_folders_that_are_gone_and_such_that_are_none(tmp_path: Path) -> None:
    (found,) = costs_of([run_of(0, tmp_path / "gone")])
    assert found.stages[0].kind == "gone" and found.total == NOT_RECORDED
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="neither a distillation nor a training"):
        costs_of([run_of(0, tmp_path / "other")])
    broken = distillation(tmp_path / "distill")
    (broken / "report.json").write_text("{}")
    with pytest.raises(DataError, match="is not a report of `sbr distill`"):
        costs_of([run_of(0, broken)])


def test_sums_and_means() -> None:
    one, two = Cost(1, 2, 3, 4, 5.0, 1), Cost(2, 2, 4, None, 6.0, 4)
    assert added([one, two]) == Cost(3, 4, 7, None, 11.0, 4)
    assert mean_cost([one, two]) == Cost(2, 2, 4, None, 5.5, 4)
    (untrained,) = costs_of([run_of(0)])
    assert untrained.total == NONE_AT_ALL
