"""Which run comes next, and what goes on after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import ARMS, TEACHERS, write

from sbr.config.load import load_recipe
from sbr.config.study import StudyConfig
from sbr.study.graph import Graph, graph_of
from sbr.study.schedule import Schedule, evaluations


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return graph_of(load_recipe(StudyConfig, write(tmp_path, TEACHERS, ARMS)), "study.toml")


def schedule(graph: Graph, finished=(), wanted=None) -> Schedule:
    states = {name: "finished" if name in finished else "missing" for name in graph.jobs}
    return Schedule(graph, states, evaluations(graph) if wanted is None else wanted)


def started(found: Schedule, now: float = 0.0) -> set[str]:
    names: set[str] = set()
    while name := found.next(now):
        names.add(name)
    return names


def test_everything_runs_once_after_what_it_needs(graph: Graph) -> None:
    found = schedule(graph)
    order: list[str] = []
    assert started(found) == {"mini/self", "mini/teacher", "mini/base/eval"}
    while found.under_way:
        for name in sorted(found.under_way):
            found.ends(name)
            order.append(name)
        for name in started(found):
            assert set(graph.jobs[name].needs) <= set(order)
    assert sorted(order) == sorted(graph.jobs)
    assert (found.done, found.total, found.open) == (len(order), len(order), [])


def test_what_is_finished_and_what_only_that_needs_is_not_run(graph: Graph) -> None:
    finished = {name for name in graph.jobs if name.startswith("mini/sft_strong")}
    found = schedule(graph, finished)
    assert "mini/strong" not in found.open, "its only user is finished"
    assert "mini/teacher" in found.open, "it is an arm itself"
    found = schedule(graph, {"mini/sft/seed_0"}, ["mini/sft_grpo/seed_0/eval"])
    assert found.open == ["mini/sft_grpo/seed_0", "mini/sft_grpo/seed_0/eval"]
    assert schedule(graph, set(graph.jobs)).total == 0


def test_after_a_failure_only_what_needs_it_is_left_out(graph: Graph) -> None:
    found = schedule(graph)
    started(found)
    found.fails("mini/teacher", "out of memory")
    strong = {f"mini/sft_strong/seed_{seed}{end}" for seed in (0, 1) for end in ("", "/eval")}
    assert found.left_out == dict.fromkeys({"mini/strong", "mini/teacher/eval", *strong}, "mini/teacher")
    for name in ("mini/self", "mini/base/eval"):
        found.ends(name)
    while names := started(found):
        for name in names:
            found.ends(name)
    assert found.failed == {"mini/teacher": "out of memory"}
    assert "mini/sft_grpo/seed_1/eval" in found.finished
    assert not found.open
    assert found.done == found.total


def test_a_run_of_another_process_is_tried_again_later(graph: Graph) -> None:
    found = schedule(graph)
    started(found)
    assert not found.has_waited("mini/self")
    found.waits("mini/self", until=5.0)
    assert found.has_waited("mini/self")
    assert (started(found, 4.9), found.wakes) == (set(), 5.0)
    assert started(found, 5.0) == {"mini/self"}
    assert found.wakes is None
