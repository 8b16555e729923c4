"""The line that stands planned beside measured, with figures of a GPU that is not there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbr.cli.planned import Planned, comparison
from sbr.config.load import validate, write_resolved
from sbr.config.recipes import GrpoRecipe

PLAN = {"peak_bytes": 10 << 30, "peak_phase": "update", "gpus": 8, "memory_bytes": 80 << 30}


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> GrpoRecipe:
    """Of a run whose folder holds recipe.json only."""
    values = {
        "model": {"path": str(tiny_model_dir), "dtype": "float32"},
        "data": {"root": "nowhere"},
        "output_dir": str(tmp_path / "run"),
        "frames": {"max_frames": 4, "height": 56, "width": 56},
        "rollout": {"group_size": 4, "max_new_tokens": 8},
        "train": {"prompts_per_step": 2},
    }
    made = validate(GrpoRecipe, values, "test")
    write_resolved(made, made.output_dir / "recipe.json")
    return made


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Planned]:
    """On a GPU of 8 GiB; the plan has the priority of a test, or it would wait for all others."""
    monkeypatch.setattr("os.setpriority", lambda *_: None)
    monkeypatch.setattr("sbr.train.sharding.memory_of_process", lambda device: 8 << 30)
    made = Planned()
    yield made
    made.stop()


def test_the_line_comes_once_when_the_plan_is_ready(recipe, planned, caplog, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")  # as a launcher says to the run; a plan has nobody to join
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    caplog.set_level(logging.INFO, "sbr.cli.planned")
    end = time.monotonic() + 600
    while not caplog.messages and time.monotonic() < end:
        planned.took(recipe, 2, 3 << 30)
        time.sleep(0.05)
    planned.took(recipe, 2, 4 << 30)
    (line,) = caplog.messages
    assert line.startswith("memory: 3.0 GiB taken at most (2 GPUs of 8.0 GiB), 0.0 GiB planned (")
    assert line.endswith("(docs/performance.md)")


def test_a_run_that_ends_first_ends_the_plan(recipe, planned, caplog) -> None:
    planned.took(recipe, 1, 1)
    process = planned._process
    assert process is not None and process.poll() is None
    planned.stop()
    assert process.poll() is not None
    assert not caplog.messages


def test_a_plan_that_cannot_be_made_is_one_warning(recipe, planned, caplog) -> None:
    (recipe.output_dir / "recipe.json").write_text("{}")
    planned.took(recipe, 1, 1)
    planned._process.wait()
    for _ in range(2):
        planned.took(recipe, 1, 1 << 30)
    assert len(caplog.messages) == 1
    assert f"sbr plan {recipe.output_dir / 'recipe.json'} says why" in caplog.messages[0]


def test_hints_stand_where_the_two_differ_by_more_than_a_tenth() -> None:
    near, less, more = (comparison(PLAN, int(share * (10 << 30))) for share in (1.09, 0.5, 1.2))
    assert near == "memory: 10.9 GiB taken at most (8 GPUs of 80.0 GiB), 10.0 GiB planned (update): 1.09"
    assert less.endswith("0.50; a plan has every completion at its longest and every prompt with all its frames")
    assert "1.20; a plan counts no looks" in more
