"""What a training step works with on one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sbr.model import lora
from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import CompletionLogprobs, completion_logprobs
from sbr.model.twin import Twin
from sbr.train.ema import AverageWeights
from sbr.types import Prompt

Autocast = Callable[..., AbstractContextManager[Any]]
"""The precision of a pass."""


class Policy(nn.Module):
    """A model as data-parallel and sharding wrappers want it: one forward call that holds the whole computation.

    Of a sharded model nothing else may be called: only the outermost module gathers its weights.
    `temperature` is that of the rollouts: the policy of GRPO is what samples, and that divides its logits by it.
    """

    def __init__(self, model: VisionLanguageModel, temperature: float = 1.0, autocast: Autocast = nullcontext) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self._autocast = autocast

    def forward(
        self,
        prompts: Sequence[Prompt],
        completions_PG: Sequence[Sequence[Sequence[int]]],
        temperature: float | None = None,
    ) -> CompletionLogprobs:
        """`temperature` other than that of the policy, if given."""
        temperature = self.temperature if temperature is None else temperature
        with self._autocast(), _rounded_when_used():
            return completion_logprobs(self.model, prompts, completions_PG, temperature)

    @contextmanager
    def without_adapters(self) -> Iterator[Policy]:
        """Inside, the policy is the model below its LoRA adapters."""
        with lora.adapters_off(self.model):
            yield self


@contextmanager
def _rounded_when_used() -> Iterator[None]:
    """Autocast does not keep the 16-bit copies of weights that it makes.

    A pass uses every weight once, so nothing is rounded twice.  Kept to the end of the pass they would be 2 bytes for
    each weight: with gradient checkpointing or weights in parts, most of what a pass holds.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


FixedPolicy = Callable[[], AbstractContextManager[Policy]]
"""`with fixed() as policy:` gives a policy that is only asked for log-probabilities, never trained.  It may be the
trained one in another state."""


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """One process's share of everything that is trained."""

    accelerator: Accelerator
    policy: Policy | DistributedDataParallel
    """`Policy`, perhaps wrapped for data parallelism; call it for log-probabilities with gradient.  Its weights may be
    in parts (`sbr.train.sharding`)."""
    reference: FixedPolicy | None
    """Of the KL term: a frozen copy, or with LoRA the same model with its adapters off.  None without a KL term and in
    SFT."""
    processor: Any
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: AverageWeights | None = None
    """The slow average of the policy that some algorithms ask (`Algorithm.average`)."""
    twin: Twin | None = None
    """What is asked in place of the model, where that cannot be or would be slow."""

    @property
    def plain(self) -> Policy:
        """The policy without its wrapper."""
        return self.policy.module if isinstance(self.policy, DistributedDataParallel) else self.policy

    @property
    def model(self) -> VisionLanguageModel:
        """What is trained; call it through `policy` only."""
        return self.plain.model

    @property
    def asked(self) -> VisionLanguageModel:
        """What `whole` gives: the same object each time, with weights only inside of `whole`."""
        return self.twin.model if self.twin else self.model

    def whole(self) -> AbstractContextManager[VisionLanguageModel]:
        """Inside, `asked` has all present weights on this process and may be asked anything.

        All processes enter together; inside each does as it likes.
        """
        return self.twin() if self.twin else nullcontext(self.model)
