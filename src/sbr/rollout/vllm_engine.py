"""vLLM in this process as an engine: the same prompts and the same choice of tokens, its own arithmetic.

Text is decoded here, from the tokens, as the native engine does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.rollout.engine import Answered, Question, Reply
from sbr.rollout.sampling import Sampling
from sbr.rollout.vllm_llm import VllmModel


def open_vllm(model: ModelConfig, prompt: PromptConfig, config: EngineConfig, _: bool) -> VllmEngine:
    """Raises ConfigError when vLLM is not installed or cannot take this model, CheckpointError."""
    return VllmEngine(VllmModel(model, prompt, config))


class VllmEngine:
    """Batches through one `vllm.LLM`.  See `sbr.rollout.engine`.

    Which answers are drawn depends on the question, its seed and the answer's index, up to rounding, but they are
    others than those of the native engine: vLLM draws its own random numbers.  Greedy answers agree up to rounding.
    """

    one_by_one = False

    def __init__(self, model: VllmModel) -> None:
        self._model = model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._model.close()

    @property
    def size_factor(self) -> int:
        return self._model.encoder.size_factor

    def answer(
        self, batches: Iterable[Sequence[Question]], samples: int, sampling: Sampling
    ) -> Iterator[list[Answered]]:
        """Raises DataError when vLLM reads another prompt than the native engine would, or one that is too long."""
        for batch in batches:
            started = time.perf_counter()
            prompts = [self._model.encoder.encode(question.sample, question.frames) for question in batch]
            outputs = self._model.generate(batch, prompts, samples, sampling)
            seconds = (time.perf_counter() - started) / (len(batch) * samples)
            yield [
                Answered(question, prompt.text, dict(enumerate(self._replies(output, samples))), seconds)
                for question, prompt, output in zip(batch, prompts, outputs, strict=True)
            ]

    def _replies(self, output: Sequence[Any], samples: int) -> list[Reply]:
        replies = [
            Reply(
                text=self._model.encoder.tokenizer.decode(one.token_ids, skip_special_tokens=True),
                tokens=len(one.token_ids),
                truncated=one.finish_reason == "length",
            )
            for one in output
        ]
        return replies * samples if len(replies) == 1 else replies
