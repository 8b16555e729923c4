"""The whole path in small: videos drawn, base asked and distilled, SFT, one GRPO step, asked again, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbr.cli.main import run
from sbr.reward.format import format_reward


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run(words(out)) == 0
    return out


def words(out: Path) -> list[str]:
    return ["demo", "--out", str(out), "--train", "16", "--val", "4", "--steps", "1"]


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_every_stage_leaves_its_files(demo: Path) -> None:
    models = ("grpo_0/final", "sft_grpo_0/cold_start/final", "sft_grpo_0/final")
    assert all((demo / model / "model.safetensors").exists() for model in models)
    assert [line["step"] for line in map(json.loads, (demo / "grpo_0" / "metrics.jsonl").open())] == [1]
    table = (demo / "table_0.md").read_text()
    assert all(level in table for level in ("L1", "L2", "L3 Overall"))
    assert all(model in table for model in ("base", "SFT", "GRPO", "SFT+GRPO", "SFT+GRPO against GRPO"))
    for name in ("eval_base", "eval_sft_0", "eval_grpo_0", "eval_sft_grpo_0"):
        assert sorted({record["level"] for record in records(demo / name)}) == ["L1", "L2", "L3"]
        assert len(records(demo / name)) == 12
        assert "L3 Overall" in (demo / name / "table.md").read_text("utf-8")


def test_the_shipped_base_model_answers_in_the_asked_format(demo: Path) -> None:
    answers = [record["response"] for record in records(demo / "eval_base")]
    assert sum(format_reward(answer) for answer in answers) >= 11


def test_a_repeated_demo_does_nothing_twice(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in demo.rglob("*") if file.suffix in (".mp4", ".safetensors")}
    assert run(words(demo)) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert "0 drawn now" in capsys.readouterr().out


def test_a_demo_with_other_settings_is_refused(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words(demo)[:-1], "2"]) == 2
    assert "train.max_steps" in capsys.readouterr().err


def test_the_data_of_the_demo_passes_the_check(demo: Path) -> None:
    assert run(["data", "check", str(demo / "data")]) == 0
