"""Answers of OpenAI-compatible servers, by chat completions (`sbr.rollout.chat_client`).

The chat is the official one (sbr.prompt.template); the server's chat template turns it into the model's own form.  What
a server may do differently from the native engine: docs/faithfulness.md, section "Endpoints".
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.frames.sampling import SIZE_FACTOR
from sbr.prompt.openai_chat import openai_messages, prompt_text, video_fields
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.chat_window import ChatRequest, replies
from sbr.rollout.engine import Answered, Question
from sbr.rollout.sampling import Sampling

_ENCODERS = 4
"""Threads that turn frames into PNG or JPEG."""

_log = logging.getLogger(__name__)


def open_endpoint(model: ModelConfig, _: PromptConfig, config: EngineConfig, __: bool) -> EndpointEngine:
    """`model.path` is the model's name at the server.  Raises EndpointError when the server cannot be asked."""
    return EndpointEngine(config, model.path)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    question: Question
    index: int
    prompt: str


class EndpointEngine:
    """Servers behind the interface of `sbr.rollout.engine`: one request an answer, `config.concurrency` at a time to
    each."""

    size_factor = SIZE_FACTOR
    one_by_one = True

    def __init__(self, config: EngineConfig, model: str) -> None:
        self._config = config
        self._client = ChatClient(config, model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def answer(
        self, batches: Iterable[Sequence[Question]], samples: int, sampling: Sampling
    ) -> Iterator[list[Answered]]:
        """See `sbr.rollout.engine.Engine`.

        After a final failure nothing new is asked; what is under way may finish for half a minute and is given; then
        the error is raised.
        """
        empty = 0
        last = time.perf_counter()
        try:
            with closing(replies(self._client, self._requests(batches, samples), sampling)) as lists:
                for arrived in lists:
                    now = time.perf_counter()
                    seconds, last = (now - last) / len(arrived), now
                    empty += sum(not reply.text.strip() for _, reply in arrived)
                    yield [
                        Answered(asked.question, asked.prompt, {asked.index: reply}, seconds)
                        for asked, reply in arrived
                    ]
        finally:
            if empty:
                _log.warning("%d answers of %s are empty", empty, self._client.model)
            self._client.log_answers()

    def _requests(self, batches: Iterable[Sequence[Question]], samples: int) -> Iterator[ChatRequest[_Asked]]:
        with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="pictures") as pool:
            for batch in batches:
                asked = [question for question in batch if len(question.known) < samples]
                for question, messages in zip(asked, pool.map(self._messages, asked), strict=True):
                    video = self._config.media != "frames" and question.frames.video_THWC is not None
                    fields = video_fields(question.frames) if video else None
                    prompt = prompt_text(messages)
                    for index in range(samples):
                        if index not in question.known:
                            seed = request_seed(question.seed, index)
                            yield ChatRequest(_Asked(question, index, prompt), messages, seed, fields)

    def _messages(self, question: Question) -> list[dict[str, Any]]:
        return openai_messages(question.sample, question.frames, self._config.media)


def request_seed(seed: int, index: int) -> int:
    """Seed of one request, 31 bits: what every server takes (some keep 32 bits, with a sign)."""
    digest = hashlib.sha256(f"{seed}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
