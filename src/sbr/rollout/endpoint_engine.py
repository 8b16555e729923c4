"""Answers of OpenAI-compatible servers, by chat completions (`sbr.rollout.chat_client`).

The chat is the official one (sbr.prompt.template); the server's chat template turns it into the model's own form.  What
a server may do differently from the native engine: docs/faithfulness.md, section "Endpoints".
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Self

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import SbrError
from sbr.frames.sampling import SIZE_FACTOR
from sbr.prompt.openai_chat import openai_messages, prompt_text, video_fields
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.engine import Answered, Question, Reply
from sbr.rollout.sampling import Sampling

_GRACE_SECONDS = 30.0
"""After a failure, requests under way get so long to finish: they are paid for, and their answers are kept."""
_LOOK_SECONDS = 0.5
"""Without an answer for so long, see whether a server is back and takes more requests."""
_ENCODERS = 4
"""Threads that turn frames into PNG or JPEG."""

_log = logging.getLogger(__name__)


def open_endpoint(model: ModelConfig, _: PromptConfig, config: EngineConfig, __: bool) -> EndpointEngine:
    """`model.path` is the model's name at the server.  Raises EndpointError when the server cannot be asked."""
    return EndpointEngine(config, model.path)


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
        requests = self._requests(batches, samples)
        pending: dict[Future[Reply], tuple[Question, int, str]] = {}
        finished: SimpleQueue[Future[Reply]] = SimpleQueue()
        failure: SbrError | None = None
        deadline: float | None = None
        empty = 0
        last = time.perf_counter()
        try:
            while True:
                # Answers that are there go before further questions, whose frames may take their time.
                while failure is None and len(pending) < self._client.room and finished.empty():
                    try:
                        question, index, messages = next(requests)
                    except StopIteration:
                        break
                    except SbrError as error:
                        failure = error
                        break
                    video = self._config.media != "frames" and question.frames.video_THWC is not None
                    fields = video_fields(question.frames) if video else None
                    future = self._client.submit(messages, sampling, request_seed(question.seed, index), fields)
                    pending[future] = (question, index, prompt_text(messages))
                    future.add_done_callback(finished.put)
                if failure is not None and deadline is None:
                    deadline = time.perf_counter() + _GRACE_SECONDS
                left = None if deadline is None else deadline - time.perf_counter()
                if not pending or (left is not None and left <= 0):
                    break
                arrived: list[tuple[Question, int, str, Reply]] = []
                for future in _all_of(finished, _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)):
                    question, index, prompt = pending.pop(future)
                    try:
                        arrived.append((question, index, prompt, future.result()))
                    except SbrError as error:
                        failure = failure or error
                if arrived:
                    now = time.perf_counter()
                    seconds, last = (now - last) / len(arrived), now
                    empty += sum(not reply.text.strip() for _, _, _, reply in arrived)
                    yield [Answered(question, prompt, {i: reply}, seconds) for question, i, prompt, reply in arrived]
        finally:
            for future in pending:
                future.cancel()
            if empty:
                _log.warning("%d answers of %s are empty", empty, self._client.model)
            self._client.log_answers()
        if failure is not None:
            raise failure

    def _requests(
        self, batches: Iterable[Sequence[Question]], samples: int
    ) -> Iterator[tuple[Question, int, list[dict[str, Any]]]]:
        with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="pictures") as pool:
            for batch in batches:
                asked = [question for question in batch if len(question.known) < samples]
                for question, messages in zip(asked, pool.map(self._messages, asked), strict=True):
                    for index in range(samples):
                        if index not in question.known:
                            yield question, index, messages

    def _messages(self, question: Question) -> list[dict[str, Any]]:
        return openai_messages(question.sample, question.frames, self._config.media)


def request_seed(seed: int, index: int) -> int:
    """Seed of one request, 31 bits: what every server takes (some keep 32 bits, with a sign)."""
    digest = hashlib.sha256(f"{seed}\0{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _all_of(finished: SimpleQueue[Future[Reply]], seconds: float) -> Iterator[Future[Reply]]:
    """Those that are there, or the first that comes; after so many seconds none."""
    try:
        yield finished.get(timeout=seconds)
        while True:
            yield finished.get_nowait()
    except Empty:
        return
