"""The model in this process as an engine: whole batches, so that a continued run repeats an uninterrupted one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Self

import torch

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.model.families import VisionLanguageModel
from sbr.model.load import load_model, load_processor
from sbr.model.tokens import TokenRules
from sbr.prompt.encode import PromptEncoder
from sbr.rollout.engine import Answered, Question, Reply
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling
from sbr.types import Prompt


def open_native(model: ModelConfig, prompt: PromptConfig, engine: EngineConfig, compiled: bool) -> NativeEngine:
    """With the checkpoint that `model` names, on the GPU if there is one.  Raises CheckpointError, and DataError if
    `engine.prefill` holds a special token."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = PromptEncoder(load_processor(model.path), prompt)
    return NativeEngine(load_model(model, device).eval(), encoder, compiled, engine.prefill or "")


class NativeEngine:
    """`sbr.rollout.generate.generate` behind the interface (`sbr.rollout.engine`), with any loaded model."""

    one_by_one = False

    def __init__(
        self, model: VisionLanguageModel, encoder: PromptEncoder, compiled: bool = False, prefill: str = ""
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._compiled = compiled
        self._prefill = prefill
        self._prefill_ids = torch.tensor(encoder.encode_prefill(prefill), dtype=torch.long)
        self._rules = TokenRules.of(model, encoder.tokenizer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._model

    @property
    def size_factor(self) -> int:
        return self._encoder.size_factor

    def answer(
        self, batches: Iterable[Sequence[Question]], samples: int, sampling: Sampling
    ) -> Iterator[list[Answered]]:
        for batch in batches:
            started = time.perf_counter()
            prompts = [self._encoder.encode(question.sample, question.frames) for question in batch]
            begun = [self._begun(prompt) for prompt in prompts]
            seeds = [question.seed for question in batch]
            groups = generate(
                self._model, self._encoder.tokenizer, begun, samples, sampling, seeds, self._compiled, self._rules
            )
            seconds = (time.perf_counter() - started) / (len(batch) * samples)
            yield [
                Answered(
                    question=question,
                    prompt=prompt.text,
                    replies={
                        i: Reply(self._prefill + c.text, len(self._prefill_ids) + len(c.token_ids), c.truncated)
                        for i, c in enumerate(group)
                    },
                    seconds=seconds,
                )
                for question, prompt, group in zip(batch, prompts, groups, strict=True)
            ]

    def _begun(self, prompt: Prompt) -> Prompt:
        """The prompt with the first words of the answer behind it."""
        if not len(self._prefill_ids):
            return prompt
        return replace(
            prompt,
            input_ids_S=torch.cat([prompt.input_ids_S, self._prefill_ids]),
            mm_token_type_ids_S=torch.cat([prompt.mm_token_type_ids_S, torch.zeros_like(self._prefill_ids)]),
        )
