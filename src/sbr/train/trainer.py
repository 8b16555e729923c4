"""What a training step works with on one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from sbr.model.families import VisionLanguageModel
from sbr.model.logprobs import CompletionLogprobs, completion_logprobs
from sbr.train.ema import AverageWeights
from sbr.types import Prompt


class Policy(nn.Module):
    """The trained model as data-parallel wrappers want it: one forward call that holds the whole computation.

    `temperature` is that of the rollouts: the policy of GRPO is what samples, and that divides its logits by it.
    """

    def __init__(self, model: VisionLanguageModel, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(
        self, prompts: Sequence[Prompt], completions_PG: Sequence[Sequence[Sequence[int]]]
    ) -> CompletionLogprobs:
        return completion_logprobs(self.model, prompts, completions_PG, self.temperature)


FixedModel = Callable[[], AbstractContextManager[VisionLanguageModel]]
"""`with fixed() as model:` gives a model that is only asked, never trained.  It may be the policy in another state."""


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """One process's share of everything that is trained."""

    accelerator: Accelerator
    policy: nn.Module
    """`Policy`, wrapped by accelerate; call it for log-probabilities with gradient."""
    model: VisionLanguageModel
    """The same weights unwrapped, for generation and saving."""
    reference: FixedModel | None
    """Of the KL term: a frozen copy, or with LoRA the same model with its adapters off.  None without a KL term and in
    SFT."""
    processor: Any
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: AverageWeights | None = None
    """The slow average of the policy that some algorithms ask (`Algorithm.average`)."""
