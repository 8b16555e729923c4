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


def test_every_check_is_recorded_and_none_is_run_twice(script, tmp_path: Path, monkeypatch) -> None:
    run: list[str] = []

    def run_apart(name: str, device: str, limit: float) -> dict[str, object]:
        run.append(name)
        return {"status": "ok", "seconds": 1.0, "figures": {"device": device}}

    monkeypatch.setattr(script, "run_apart", run_apart)
    words = ["--out", str(tmp_path / "found.json"), "--device", "cpu"]
    assert script.main([*words, "--only", "versions"]) == 0
    before = (tmp_path / "found.json").read_bytes()
    assert script.main([*words, "--only", "versions"]) == 0
    assert (tmp_path / "found.json").read_bytes() == before
    assert script.main(words) == 0
    assert run == list(script.CHECKS), "each once, versions first"
    assert list(json.loads((tmp_path / "found.json").read_text())["checks"]) == run
    with pytest.raises(SystemExit):
        script.main(["--out", str(tmp_path / "found.json"), "--device", "cuda"])


@pytest.mark.parametrize("name", ["parity", "recorded_attention", "grpo_small"])
def test_checks_themselves(tmp_path: Path, name: str) -> None:
    done = forked.run(SCRIPT, "--out", str(tmp_path / "one.json"), "--device", "cpu", "--in-this-process", name)
    found = json.loads((tmp_path / "one.json").read_text())
    assert found["status"] == "ok", f"{found}\n{done.output}"
    if name == "parity":
        assert found["figures"]["float32"] == {"logprob": 0.0, "gradient": 0.0}  # a CPU against itself
    elif name == "recorded_attention":
        assert found["figures"]["weights"] == 0.0
        assert set(found["figures"]) == {"weights", "passed", "plain_seconds", "recorded_seconds"}
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
