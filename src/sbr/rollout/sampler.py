"""What GRPO asks for completions, and the sampler that is the policy itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

from sbr.config.named import call_named
from sbr.config.recipes import GrpoRecipe
from sbr.errors import ConfigError
from sbr.model.families import VisionLanguageModel
from sbr.model.tokens import TokenRules
from sbr.rollout.engine import Question
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling
from sbr.types import Completion, Prompt

Whole = Callable[[], AbstractContextManager[VisionLanguageModel]]
"""`with whole() as model:` gives the policy with all its present weights, for as long as that lasts; a collective call
where the weights are cut into parts.  It is always the same object (`sbr.train.trainer.Trainer.whole`)."""


@runtime_checkable
class Sampler(Protocol):
    """Draws groups of completions from the policy as it is now.

    GRPO does not know which one it asks.  A sampler whose arithmetic is not that of training (other kernels, other
    precision, older weights) is corrected by importance weights (`sbr.algo.loss`), for which it has to report the
    log-probabilities that it drew with.
    """

    def present(self, whole: Whole) -> AbstractContextManager[None]:
        """Inside, `sample` draws from the policy as it is now.  All processes enter and leave together."""
        ...

    def sample(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], group_size: int, sampling: Sampling
    ) -> list[tuple[Completion, ...]]:
        """`group_size` completions of every question, in order, drawn with the questions' seeds.

        `prompts` are the same questions as model inputs; a sampler that runs the processor itself takes the sample and
        its frames instead.  Called inside of `present`, under the autocast of training, by all processes a first time
        and then by each as often as it likes.
        """
        ...


class NativeSampler:
    """The trained weights at hand, by `sbr.rollout.generate`: nothing has to be handed over."""

    def __init__(self, model: VisionLanguageModel, processor: Any, recipe: GrpoRecipe) -> None:
        """Raises ConfigError for CUDA graphs without a GPU."""
        if recipe.rollout.graphs and model.device.type != "cuda":
            raise ConfigError(
                f"rollout.graphs records CUDA graphs, and the model is on a {model.device.type}: remove it"
            )
        self._model = model
        self._tokenizer = processor.tokenizer
        self._compiled, self._graphs = recipe.rollout.compile, recipe.rollout.graphs
        self._rules = TokenRules.of(model, processor.tokenizer)

    @contextmanager
    def present(self, whole: Whole) -> Iterator[None]:
        with whole():
            yield

    def sample(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], group_size: int, sampling: Sampling
    ) -> list[tuple[Completion, ...]]:
        seeds = [question.seed for question in questions]
        how = self._compiled, self._rules, self._graphs
        return generate(self._model, self._tokenizer, prompts, group_size, sampling, seeds, *how)


def open_sampler(model: VisionLanguageModel, processor: Any, recipe: GrpoRecipe) -> Sampler:
    """The sampler of a GRPO run: the one that `rollout.sampler` names.  `model` is what is trained.

    Raises ConfigError when the user's own cannot be loaded, fails, or makes something else.
    """
    name = recipe.rollout.sampler
    if name == "native":
        return NativeSampler(model, processor, recipe)
    if name == "vllm":
        opens = importlib.import_module("sbr.rollout.vllm_sampler").open_vllm  # only where it is asked for
        return opens(model, processor, recipe)
    sampler = call_named(name, "rollout.sampler", model, processor, recipe)
    if not isinstance(sampler, Sampler):
        raise ConfigError(
            f"rollout.sampler is {name!r}: it returned a {type(sampler).__name__} without the methods `present` "
            "and `sample`; see sbr.rollout.sampler.Sampler"
        )
    return sampler
