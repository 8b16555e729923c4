"""Chats with a model behind one or several OpenAI-compatible servers, for code that is not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from sbr.config.asking import EngineConfig
from sbr.errors import ConfigError
from sbr.rollout.engine import Reply
from sbr.rollout.fleet import Fleet
from sbr.rollout.sampling import Sampling

_CANCELLATIONS = 10
"""How often a request under way is told to stop: a timeout that ends at the same moment can swallow it, and then the
package would try again."""


class ChatClient:
    """Chats with one model.  Safe to use from several threads; a context manager.

        config = EngineConfig(kind="endpoint", url="http://localhost:8000/v1")
        with ChatClient(config, "Qwen/Qwen2-VL-7B-Instruct") as chat:
            reply = chat.complete([{"role": "user", "content": "Hello"}], Sampling(max_new_tokens=20), seed=0)

    At most `config.concurrency` requests to each server are under way, whoever asks.  What is retried, and how often:
    sbr.rollout.server.  What several servers share, and what happens when one fails: sbr.rollout.fleet.
    A key is read from the environment variable `config.api_key_env`.
    """

    def __init__(self, config: EngineConfig, model: str) -> None:
        """Asks every server for its models once.  Raises EndpointError when none is there or takes the key."""
        if config.url is None:
            raise ConfigError("engine.url is missing: the address of the server, such as http://localhost:8000/v1")
        self.model = model
        self._fleet = Fleet(config, model)
        self._loop = asyncio.new_event_loop()
        # A daemon: requests under way never keep an interrupted program alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._fleet.open(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the requests under way and the connections."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def room(self) -> int:
        """Requests that may be under way now, at all servers that are not left out; one is told when there is none."""
        return max(1, self._fleet.room)

    def log_answers(self) -> None:
        """One line with the answers of each of several servers."""
        self._fleet.log_answers()

    def complete(self, messages: Sequence[dict[str, Any]], sampling: Sampling, seed: int | None) -> Reply:
        """One answer to `messages` (role and content, as in OpenAI's API).  Raises EndpointError.

        A server that gives the thoughts of a model apart from its answer gets them put together again:
        <think>thoughts</think> before the answer.  An answer without content is the empty text.
        """
        future = self.submit(messages, sampling, seed)
        try:
            return future.result()
        finally:
            future.cancel()  # of use only when the wait was interrupted

    def submit(
        self,
        messages: Sequence[dict[str, Any]],
        sampling: Sampling,
        seed: int | None,
        fields: Mapping[str, Any] | None = None,
    ) -> Future[Reply]:
        """`complete` without waiting for it, with further `fields`.  Cancelling the future drops the request."""
        return asyncio.run_coroutine_threadsafe(self._fleet.ask(messages, sampling, seed, fields or {}), self._loop)

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for _ in range(_CANCELLATIONS):
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
        await self._fleet.close()
