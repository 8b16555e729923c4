"""Which job of a study comes next: a job whose needs are finished; what fails holds up only what needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sbr.study.graph import EVAL, Graph
from sbr.study.state import State


class Schedule:
    """What is to be done for some jobs, and how far it is.  `states` is how everything was found.

    A finished job is not done again, nor is one that only finished jobs need, whatever is left of it.
    """

    def __init__(self, graph: Graph, states: Mapping[str, State], wanted: Iterable[str]) -> None:
        self._graph = graph
        self.finished = {name for name, state in states.items() if state == "finished"}
        self.open = _to_do(graph, self.finished, wanted)
        """Neither under way nor ended, in the order of the graph."""
        self.total = len(self.open)
        self.under_way: set[str] = set()
        self.failed: dict[str, str] = {}
        """Job -> its error."""
        self.left_out: dict[str, str] = {}
        """Job -> the failed one that it needs, directly or not."""
        self._busy: dict[str, float] = {}

    def next(self, now: float) -> str | None:
        """A job that can be started at this time; None while there is none."""
        for name in self.open:
            if self._busy.get(name, now) <= now and all(need in self.finished for need in self._graph.jobs[name].needs):
                self.open.remove(name)
                self.under_way.add(name)
                return name
        return None

    @property
    def wakes(self) -> float | None:
        """When the first of those that another process holds is to be looked at again."""
        return min((time for name, time in self._busy.items() if name in self.open), default=None)

    def ends(self, name: str) -> None:
        """The job is finished."""
        self.under_way.remove(name)
        self.finished.add(name)

    def fails(self, name: str, error: str) -> None:
        """The job has failed; what needs it is left out."""
        self.under_way.remove(name)
        self.failed[name] = error
        for other in list(self.open):
            needs = self._graph.jobs[other].needs
            cause = next((self.left_out.get(need, need) for need in needs if need in self.failed | self.left_out), None)
            if cause is not None:
                self.open.remove(other)
                self.left_out[other] = cause

    def waits(self, name: str, until: float) -> None:
        """Another process holds the job; it may be tried again from then on."""
        self.under_way.remove(name)
        self.open.append(name)
        self._busy[name] = until

    def has_waited(self, name: str) -> bool:
        """Has another process held the job before?"""
        return name in self._busy

    @property
    def done(self) -> int:
        """Jobs of this schedule that have ended, well or not."""
        return self.total - len(self.open) - len(self.under_way)


def _to_do(graph: Graph, finished: set[str], wanted: Iterable[str]) -> list[str]:
    needed = {name for name in wanted if name not in finished}
    for name in reversed(list(graph.jobs)):
        if name in needed:
            needed |= {need for need in graph.jobs[name].needs if need not in finished}
    return [name for name in graph.jobs if name in needed]


def evaluations(graph: Graph) -> list[str]:
    """All that a study is for."""
    return [name for name, job in graph.jobs.items() if job.verb == EVAL]
