"""Wall time of the stages of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

import torch

from sbr.train.grpo.metrics import Seconds


class Stopwatch:
    """Sums wall time per stage; the stages of a GRPO step are the fields of `Seconds`.

    Waits for the accelerator at both ends of a stage, because its kernels run behind Python's back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = self._now()
        yield
        self._seconds[stage] = self._seconds.get(stage, 0.0) + self._now() - start

    def spent(self, stage: str) -> float:
        """Return the seconds of a stage; one that never ran took 0 s."""
        return self._seconds.get(stage, 0.0)

    def seconds(self) -> Seconds:
        return Seconds(**{field.name: self.spent(field.name) for field in fields(Seconds)})

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
