"""What GRPO asks for completions, and the sampler that is the policy itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sbr.model.families import VisionLanguageModel
from sbr.model.tokens import TokenRules
from sbr.rollout.engine import Question
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling
from sbr.types import Completion, Prompt


class Sampler(Protocol):
    """Draws groups of completions from the policy as it is now.

    GRPO does not know which one it asks.  A sampler whose arithmetic is not that of training (other kernels, other
    precision, older weights) is corrected by importance weights (`sbr.algo.loss`), for which it has to report the
    log-probabilities that it drew with.
    """

    def sample(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], group_size: int, sampling: Sampling
    ) -> list[tuple[Completion, ...]]:
        """`group_size` completions of every question, in order, drawn with the questions' seeds.

        `prompts` are the same questions as model inputs; a sampler that runs the processor itself takes the sample and
        its frames instead.
        """
        ...


class NativeSampler:
    """The trained weights at hand, by `sbr.rollout.generate`: nothing has to be handed over."""

    def __init__(
        self,
        model: VisionLanguageModel,
        tokenizer: Any,
        autocast: Callable[[], AbstractContextManager[None]],
        compiled: bool = False,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._autocast = autocast
        self._compiled = compiled
        self._rules = TokenRules.of(model, tokenizer)

    def sample(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], group_size: int, sampling: Sampling
    ) -> list[tuple[Completion, ...]]:
        seeds = [question.seed for question in questions]
        with self._autocast():
            return generate(
                self._model, self._tokenizer, prompts, group_size, sampling, seeds, self._compiled, self._rules
            )
