"""Wall time of the stages of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch

from sbr.train.deadline import Deadline


class Stopwatch:
    """Sums wall time per stage.

    Waits for the accelerator at both ends of a stage, because its kernels run behind Python's back.
    """

    def __init__(self, device: torch.device, deadline: Deadline | None = None) -> None:
        self._device = device
        self._phase = deadline.phase if deadline else nullcontext
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = self._now()
        with self._phase(stage):
            yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def slowest(seconds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the longest time of every stage over the processes."""
    stages = {stage for own in seconds for stage in own}
    return {stage: max(own.get(stage, 0.0) for own in seconds) for stage in stages}
