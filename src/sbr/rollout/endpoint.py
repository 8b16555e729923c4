"""Answers of any OpenAI-compatible server, by chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Self

from sbr.config import EngineConfig
from sbr.rollout.engine import Answered, Question, Reply
from sbr.rollout.sampling import Sampling


class ChatClient:
    """Chats with one model of one server.  Safe to use from several threads; a context manager."""

    def __init__(self, config: EngineConfig, model: str) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def submit(self, messages: list[dict[str, Any]], sampling: Sampling, seed: int | None) -> Future[Reply]:
        raise NotImplementedError

    def complete(self, messages: list[dict[str, Any]], sampling: Sampling, seed: int | None) -> Reply:
        """One answer to `messages`, with retries.  Raises EndpointError."""
        return self.submit(messages, sampling, seed).result()


class EndpointEngine:
    """A server behind the interface of `sbr.rollout.engine`."""

    size_factor = 28

    def __init__(self, config: EngineConfig, model: str) -> None:
        self._client = ChatClient(config, model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__()

    def answer(
        self, batches: Iterable[Sequence[Question]], samples: int, sampling: Sampling
    ) -> Iterator[list[Answered]]:
        raise NotImplementedError
