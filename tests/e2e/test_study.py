"""A study for real, with tiny steps: failures, repetition, kill -9, another process at work."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from pathlib import Path

import forked
import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "unit" / "study"))

from studies import RECIPES, stage, write  # noqa: E402

from sbr.analysis.study_runs import StudyRun  # noqa: E402
from sbr.cli import study as study_cli  # noqa: E402
from sbr.cli.main import run  # noqa: E402
from sbr.mini.build import build  # noqa: E402
from sbr.resume.lock import locked  # noqa: E402
from sbr.study.recipes import read_study  # noqa: E402

SMALL = {"train.max_steps": 2, "train.prompts_per_step": 2, "train.save_every": 1, "train.prompts_per_microbatch": 2}
STAGES = {
    "self": stage("distill", seeds="shared", set={"distill.samples": 4}),
    "sft": stage("sft", rows="self", set={**SMALL, "validation.share": 0.0}),
    "both": stage("grpo", model="sft", set={**SMALL, "rollout.group_size": 2}),
}
ARMS = {"base": "base", "SFT": "sft", "SFT, then GRPO": "both"}
FAILING = {"bad": stage("grpo", set={**SMALL, "reward.custom": {"no_such_module:reward": 1.0}})}
JOBS = {
    "mini/self",
    "mini/base/eval",
    *(f"mini/{name}/seed_0{end}" for name in ("sft", "both") for end in ("", "/eval")),
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, 8, 2, 0, 1)
    return root


def study(folder: Path, data_root: Path, stages=STAGES, arms=ARMS) -> Path:
    evaluation = {"recipe": RECIPES["eval"], "set": {"eval.levels": ["L1"], "eval.max_new_tokens": 8}}
    keys = {"seeds": [0], "set": {"data.root": str(data_root), "data.cache": "on"}, "eval": evaluation}
    return write(folder, stages, arms, **keys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """output_dir of an uninterrupted study."""
    folder = tmp_path_factory.mktemp("study")
    assert run(["study", str(study(folder, data_root)), "--jobs", "2"]) == 0
    return folder / "out"


def results(out: Path) -> dict[str, bytes | list[str]]:
    """What depends on neither time nor place: weights, rows, answers."""
    files = {str(file.relative_to(out)): file for file in sorted(out.rglob("*")) if "checkpoint-" not in str(file)}
    found: dict[str, bytes | list[str]] = {
        name: file.read_bytes() for name, file in files.items() if name.endswith("final/model.safetensors")
    }
    for name, file in files.items():
        if file.name in ("records.jsonl", "samples.jsonl"):
            found[name] = [json.loads(line)["response"] for line in file.read_text("utf-8").splitlines()]
    return found


def notes(out: Path) -> dict[str, str]:
    files = (out / ".study").rglob("note.json")
    return {str(file.parent.relative_to(out / ".study")): json.loads(file.read_text())["state"] for file in files}


def written(out: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.suffix != ".lock"}


def test_every_run_is_where_the_study_says(finished: Path) -> None:
    assert notes(finished) == dict.fromkeys(JOBS, "finished")
    assert results(finished).keys() == {
        *("mini/self/samples.jsonl", "mini/base/eval/records.jsonl"),
        *(
            f"mini/{name}/seed_0/{file}"
            for name in ("sft", "both")
            for file in ("final/model.safetensors", "eval/records.jsonl")
        ),
    }
    sft = json.loads((finished / "mini/both/seed_0/recipe.json").read_text())
    assert sft["model"]["path"] == str(finished / "mini/sft/seed_0/final")


def test_a_repeated_study_does_nothing_and_hands_on_all_runs(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(finished)
    file = finished.parent / "study.toml"
    runs = study_cli.run_study(read_study(file), jobs=1)
    assert written(finished) == before
    assert f"{len(JOBS)} finished, 0 to do" in capsys.readouterr().out
    folder = finished / "mini"
    assert runs[0] == StudyRun("base", "mini", 0, folder / "base/eval", ())
    assert runs[2].stages == (folder / "self", folder / "sft/seed_0", folder / "both/seed_0")
    assert [run.arm for run in runs] == list(ARMS)


def test_list_prints_one_command_for_every_model(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = finished.parent / "study.toml"
    assert run(["study", "list", str(file)]) == 0
    words = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    names = [f"mini/{name}/eval" for name in ("base", "sft/seed_0", "both/seed_0")]
    assert words == [["sbr", "study", str(file), "--only", name] for name in names]
    assert run(["study", "list", str(file), "--missing"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["study", "list", str(file), "--tier", "1"]) == 0
    assert capsys.readouterr().out == f"sbr study {file} --only mini/sft/seed_0\n"
    assert run(["study", "list", str(file), "--status"]) == 0
    assert f"{len(JOBS)} runs: {len(JOBS)} finished" in capsys.readouterr().out
    assert run(["study", "list", str(file), "--tier", "9"]) == 2
    assert "this study has 0 to 3" in capsys.readouterr().err


def test_a_failed_run_is_named_and_tried_again(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    after = {"after": stage("grpo", model="bad", set=SMALL)}
    arms = {"base": "base", "bad": "bad", "after": "after"}
    file = study(tmp_path, data_root, {**FAILING, **after}, arms)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        run(["study", str(file)])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "failed: mini/bad/seed_0: " in told
    assert "no_such_module" in told
    assert "not run, since they need mini/bad/seed_0: " in told
    assert "mini/after/seed_0/eval" in told
    assert notes(out) == {"mini/base/eval": "finished", "mini/bad/seed_0": "failed"}
    assert run(["study", "list", str(file), "--status"]) == 0
    shown = capsys.readouterr().out
    assert "mini/bad/seed_0 has failed: " in shown
    assert "1 finished" in shown
    assert "1 failed" in shown
    before = written(out / "mini" / "base")
    study(tmp_path, data_root, {"bad": stage("grpo", set=SMALL), **after}, arms)  # corrected
    assert run(["study", str(file), "--only", "mini/bad/seed_0"]) == 0
    assert notes(out) == {"mini/base/eval": "finished", "mini/bad/seed_0": "finished"}
    assert written(out / "mini" / "base") == before


def test_another_recipe_is_refused_before_anything_runs(
    finished: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {**STAGES, "both": stage("grpo", model="sft", set={**SMALL, "rollout.group_size": 3})}
    file = study(tmp_path, data_root, changed)
    file.write_text(file.read_text().replace(str(tmp_path / "out"), str(finished)))
    before = written(finished)
    assert run(["study", str(file)]) == 2
    told = capsys.readouterr().err
    assert f"{file}: mini/both/seed_0: " in told
    assert "rollout.group_size: 2 then, 3 now" in told
    assert written(finished) == before


def test_killed_anywhere_it_continues_to_the_same_results(finished: Path, data_root: Path, tmp_path: Path) -> None:
    file, out = study(tmp_path, data_root), tmp_path / "out"
    begun = (
        out / "mini/self/samples.jsonl",
        out / "mini/sft/seed_0/checkpoint-1",
        out / "mini/both/seed_0/recipe.json",
    )
    for place in begun:
        with forked.start("-m", "sbr", "study", file, "--jobs", "2") as process:
            while process.poll() is None and not place.exists():
                time.sleep(0.005)
            process.kill()
        assert process.returncode == -signal.SIGKILL, process.output
    with forked.start("-m", "sbr", "study", file, "--jobs", "2") as process:
        assert process.wait() == 0, process.output
    assert results(out) == results(finished)


def test_a_run_that_another_process_holds_is_waited_for(data_root: Path, tmp_path: Path) -> None:
    file = study(tmp_path, data_root, {}, {"base": "base"})
    with locked(tmp_path / "out/.study/mini/base/eval"):
        process = forked.start("-m", "sbr", "study", file)
        while process.poll() is None and "it is waited for" not in process.output:
            time.sleep(0.01)
        assert process.poll() is None, process.output
        assert not (tmp_path / "out" / "mini").exists()
    assert process.wait() == 0, process.output
    assert notes(tmp_path / "out") == {"mini/base/eval": "finished"}
