"""The plan of a training pass against what the pass takes, in fresh processes (`benchmarks/plan_memory.py`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's counts")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("plan_memory", BENCHMARKS / "plan_memory.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["plan_memory"] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("processes", [1, 2])
def test_planned_is_measured_within_a_tenth(benchmark: ModuleType, tmp_path: Path, processes: int) -> None:
    work = benchmark.Pass("30M", checkpointing=True, frames=8, tokens=32, group_size=4, processes=processes)
    folder = str(benchmark.write_config("30M", tmp_path))
    assert sum(benchmark.planned(work, folder).values()) == pytest.approx(benchmark.measured(work, folder), rel=0.1)
