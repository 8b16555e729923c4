"""Decoding steps as a CUDA graph: recorded once a rollout, replayed without Python or a launch of every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sbr.model.decode import DecodeCache
from sbr.model.families import VisionLanguageModel

Step = Callable[[VisionLanguageModel, DecodeCache, Tensor, Tensor], Tensor]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], Any]]]
"""What records some work: the tensor that the work gives, and a function that does the work again, into that tensor."""


def record_on_gpu(work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], Any]]:
    """Nothing is computed yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # NCCL has a thread that looks at events
        found = work()
    return found, graph.replay


class RecordedStep:
    """`step` for one rollout with a cache of static shape.

    The first call runs it plainly: kernels are chosen and compiled, and autocast keeps what it rounds.  The second
    records it, and all later ones replay.  What a call returns holds until the next one.
    """

    def __init__(self, step: Step, record: Record = record_on_gpu) -> None:
        self._step, self._record = step, record
        self._inputs: tuple[Tensor, Tensor] | None = None
        """Tokens and positions where the recorded step reads them, (B,) each."""
        self._logits: Tensor | None = None
        self._replay: Callable[[], Any] | None = None

    def __call__(self, model: VisionLanguageModel, cache: DecodeCache, tokens_B: Tensor, positions_B: Tensor) -> Tensor:
        if self._inputs is None:
            self._inputs = tokens_B.clone(), positions_B.clone()
            return self._step(model, cache, tokens_B, positions_B)
        tokens, positions = self._inputs
        tokens.copy_(tokens_B)
        positions.copy_(positions_B)
        if self._replay is None:
            self._logits, self._replay = self._record(lambda: self._step(model, cache, tokens, positions))
        self._replay()
        assert self._logits is not None
        return self._logits
