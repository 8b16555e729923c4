"""benchmarks/gpu_check.py on a CPU, tiny: what it records, what it does again, and what becomes of checks that fail."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import forked
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu_check.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_check  # pyright: ignore[reportMissingImports]

    return gpu_check


def test_every_check_is_recorded_and_none_is_run_twice(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    words = ("--out", str(file), "--device", "cpu", "--only", "versions")
    assert forked.run(SCRIPT, *words).returncode == 0
    checks = json.loads(file.read_text())["checks"]
    assert checks["versions"]["figures"]["torch"]
    before = file.read_bytes()
    assert forked.run(SCRIPT, *words).returncode == 0
    assert file.read_bytes() == before
    assert forked.run(SCRIPT, "--out", str(file), "--device", "cuda", "--only", "versions").returncode != 0


@pytest.mark.parametrize("name", ["parity", "grpo_small"])
def test_checks_themselves(tmp_path: Path, name: str) -> None:
    done = forked.run(SCRIPT, "--out", str(tmp_path / "one.json"), "--device", "cpu", "--in-this-process", name)
    found = json.loads((tmp_path / "one.json").read_text())
    assert found["status"] == "ok", f"{found}\n{done.output}"
    if name == "parity":
        assert found["figures"]["float32"] == {"logprob": 0.0, "gradient": 0.0}  # a CPU against itself
    else:
        assert found["figures"]["tokens"] == [64, 64]
        assert set(found["figures"]["planned_gib"]) == {"prefill", "decoding", "reference", "update"}


def test_a_check_that_fails_or_takes_too_long_says_so(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(scale: object) -> dict[str, object]:
        raise RuntimeError("no kernel image")

    monkeypatch.setitem(script.CHECKS, "head", (fails, 60))
    script.run_one("head", script.SCALES["cpu"], tmp_path / "one.json")
    found = json.loads((tmp_path / "one.json").read_text())
    assert found["status"] == "failed" and "RuntimeError: no kernel image" in found["error"]
    script.run_one("two_processes", script.SCALES["cpu"], tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())["status"] == "skipped"
    assert script.run_apart("versions", "cpu", 0.01)["status"] == "timeout"
