"""Chats with a model behind any OpenAI-compatible server: one request, its retries, and what may go wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Self

import httpx2
import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from sbr.config.asking import EngineConfig
from sbr.errors import ConfigError, EndpointError
from sbr.rollout.engine import Reply
from sbr.rollout.sampling import Sampling

_CONNECT_SECONDS = 10.0
_CANCELLATIONS = 10
"""How often a request under way is told to stop: a timeout that ends at the same moment can swallow it, and then the
package would try again."""
_SHOWN = 500
"""Characters of what a server said that an error message shows."""

_MOST_BYTES = ContextVar("_MOST_BYTES", default=1 << 20)
"""Of the response to the request of this task: 1 MiB, and 4 KiB for every token that was asked for."""
_BYTES_OF_A_TOKEN = 4096

_log = logging.getLogger(__name__)


class _BoundedClient(openai.DefaultAsyncHttpxClient):
    """HTTP whose responses are read whole within a time and a size: the package's own timeout starts anew with every
    byte that arrives."""

    seconds: float

    async def send(self, request: httpx2.Request, *, stream: bool = False, **settings: Any) -> httpx2.Response:
        body = bytearray()
        try:
            async with asyncio.timeout(self.seconds):
                response = await super().send(request, stream=True, **settings)
                try:
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > _MOST_BYTES.get():
                            raise EndpointError(
                                f"{request.url} sent more than the {_MOST_BYTES.get():,} bytes that an answer of this "
                                "length may have; look at the server's log, or ask for longer answers"
                            )
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer within {self.seconds:g} s", request=request) from error
        headers = [(name, value) for name, value in response.headers.items() if name not in _OF_THE_TRANSFER]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)


_OF_THE_TRANSFER = ("content-encoding", "content-length", "transfer-encoding")


class ChatClient:
    """Chats with one model of one server.  Safe to use from several threads; a context manager.

        config = EngineConfig(kind="endpoint", url="http://localhost:8000/v1")
        with ChatClient(config, "Qwen/Qwen2-VL-7B-Instruct") as chat:
            reply = chat.complete([{"role": "user", "content": "Hello"}], Sampling(max_new_tokens=20), seed=0)

    At most `config.concurrency` requests are under way, whoever asks.  Timeouts, lost connections and the statuses
    408, 409, 429 and 5xx are retried `config.retries` times by the openai package: after what Retry-After asks for (up
    to two minutes; a longer wait is an error), otherwise after 0.5, 1, 2, 4, 8, 8 ... seconds, less up to a quarter by
    chance.
    A key is read from the environment variable `config.api_key_env`.
    """

    def __init__(self, config: EngineConfig, model: str) -> None:
        """Asks the server for its models once.  Raises EndpointError when it is not there or refuses the key."""
        if config.url is None:
            raise ConfigError("engine.url is missing: the address of the server, such as http://localhost:8000/v1")
        self.config = config
        self.model = model
        self.url = config.url
        # With the line feed of a file it came from, the error about that header would show it.
        self._key = os.environ.get(config.api_key_env, "").strip()
        http = _BoundedClient()
        http.seconds = config.timeout
        self._client = openai.AsyncOpenAI(
            http_client=http,
            base_url=config.url,
            api_key=self._key or "none",  # the package wants one; servers without keys do not read it
            timeout=openai.Timeout(config.timeout, connect=min(_CONNECT_SECONDS, config.timeout)),
            max_retries=config.retries,
        )
        self._slots = asyncio.Semaphore(config.concurrency)
        self._loop = asyncio.new_event_loop()
        # A daemon: requests under way never keep an interrupted program alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._look_for_model(), self._loop).result()
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
        return asyncio.run_coroutine_threadsafe(self._ask(messages, sampling, seed, fields or {}), self._loop)

    async def _ask(
        self, messages: Sequence[dict[str, Any]], sampling: Sampling, seed: int | None, fields: Mapping[str, Any]
    ) -> Reply:
        extra = {**fields, **self.config.extra}
        if sampling.top_k:  # no part of OpenAI's API; vLLM, SGLang and llama.cpp know it
            extra.setdefault("top_k", sampling.top_k)
        _MOST_BYTES.set((1 << 20) + _BYTES_OF_A_TOKEN * sampling.max_new_tokens)  # of this request: it is a task
        async with self._slots:
            try:
                completion: Any = await self._client.chat.completions.create(
                    model=self.model,
                    messages=list(messages),  # pyright: ignore[reportArgumentType]
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    max_tokens=sampling.max_new_tokens,
                    seed=openai.omit if seed is None else seed,
                    extra_body=extra,
                )
            except (openai.OpenAIError, ValueError, RecursionError) as error:
                raise self._explain(error) from error
        return self._reply(completion)

    def _reply(self, completion: Any) -> Reply:
        """Of a parsed response, whose fields the package does not check."""
        choices: Any = getattr(completion, "choices", None)
        message: Any = getattr(choices[0], "message", None) if choices else None
        if not isinstance(completion, ChatCompletion) or not isinstance(message, ChatCompletionMessage):
            said = completion if isinstance(completion, str) else getattr(completion, "model_dump_json", str)()
            raise EndpointError(
                f"{self._where} sent something else than a chat completion: {_shortened(said)}; is "
                "engine.url the address of the API (most end in /v1)?"
            )
        text = self._text(message.content) or self._text(getattr(message, "refusal", None))
        thoughts = [self._text(getattr(message, key, None)) for key in ("reasoning_content", "reasoning")]
        if any(thoughts):
            text = f"<think>{thoughts[0] or thoughts[1]}</think>{text}"
        tokens: Any = getattr(completion.usage, "completion_tokens", None)
        whole = isinstance(tokens, int | float) and float(tokens).is_integer()  # some servers send 3.0
        return Reply(text, int(tokens) if whole else None, truncated=choices[0].finish_reason == "length")

    def _text(self, content: Any) -> str:
        """Of a field that holds a text, a list of parts that are texts, or nothing."""
        if content is None:
            return ""
        parts: list[Any] = content if isinstance(content, list) else [content]
        texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in parts]
        if not all(isinstance(text, str) for text in texts):
            raise EndpointError(
                f"{self._where} sent an answer that is no text: {_shortened(content)}; ask for a model and settings "
                "whose answers are text"
            )
        # A server can send half a surrogate pair, which no file can hold; what is read is what is saved.
        return "".join(texts).encode("utf-8", "replace").decode("utf-8")

    async def _look_for_model(self) -> None:
        """EndpointError now rather than after decoding videos.  Not every server lists its models, or all of them."""
        try:
            listed: Any = await self._client.with_options(max_retries=0).models.list()
            names = [str(model.id) for model in listed.data]
        except (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._explain(error) from error
        except (openai.OpenAIError, EndpointError, ValueError, AttributeError, TypeError, RecursionError):
            _log.info(
                "%s does not list its models; asking for %s without knowing that it is there", self.url, self.model
            )
            return
        if self.model not in names:
            shown = ", ".join(names[:10]) or "none"
            _log.warning("%s does not list the model %s; it lists %s", self.url, self.model, shown)

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for _ in range(_CANCELLATIONS):
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)
        await self._client.close()

    @property
    def _where(self) -> str:
        return f"{self.url} (model {self.model})"

    def _explain(self, error: Exception) -> EndpointError:
        """What was asked, what the server said, what to do."""
        tries = f"{self.config.retries + 1} times" if self.config.retries else "once"
        again = "then repeat the command, it continues"
        if isinstance(error, openai.APITimeoutError):
            what = f"gave no answer within {self.config.timeout:g} s, asked {tries}"
            return EndpointError(f"{self._where} {what}; raise engine.timeout or lower engine.concurrency, {again}")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return EndpointError(
                f"{self._where} cannot be reached: {_shortened(cause) or type(cause).__name__}; is the server running "
                f"and engine.url right? {again}"
            )
        if not isinstance(error, openai.APIStatusError):
            return EndpointError(
                f"{self._where} sent an answer that cannot be read: {_shortened(error)}; look at the server's log"
            )
        status = error.status_code
        retried = f", asked {tries}" if status in (408, 409, 429) or status >= 500 else ""
        said = _shortened(error.response.text) or "nothing"
        return EndpointError(
            f"{self._where} answered with status {status}{retried}; it said: {said}\n{self._advice(status)}"
        )

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            state = "which is not set" if not self._key else "which is set"
            return f"the key is read from the environment variable {self.config.api_key_env}, {state}"
        if status == 404:
            return "check engine.url (most end in /v1) and the name of the model (URL/models lists them)"
        if status == 429:
            return "wait, or lower engine.concurrency, then repeat the command, it continues"
        if status >= 500 or status in (408, 409):
            return "look at the server's log, then repeat the command, it continues"
        return (
            "the server does not take this request: too many pictures for it (vLLM: --limit-mm-per-prompt), a prompt "
            "longer than its context (lower frames.max_frames), another engine.media, or a field it does not know"
        )


def _shortened(said: object) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
