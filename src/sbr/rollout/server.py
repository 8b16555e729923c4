"""One OpenAI-compatible server: a request, its retries, and what may go wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from sbr.config.asking import EngineConfig
from sbr.errors import ConfigError, EndpointError
from sbr.rollout.engine import Reply
from sbr.rollout.sampling import Sampling

_CONNECT_SECONDS = 10.0
_SHOWN = 500
"""Characters of what a server said that an error message shows."""
_RETRIED = (408, 409, 429)
"""Statuses below 500 that the openai package retries."""

_MOST_BYTES = ContextVar("_MOST_BYTES", default=1 << 20)
"""Of the response to the request of this task: 1 MiB, and 4 KiB for every token that was asked for."""
_BYTES_OF_A_TOKEN = 4096

_log = logging.getLogger(__name__)


class ServerError(EndpointError):
    """A server fails whatever it is asked: another one may answer the same request."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(cause + advice)
        self.cause = cause
        self.advice = advice.lstrip("; \n")


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


class Server:
    """One model at one address; its methods run in one event loop.

    Timeouts, lost connections and the statuses 408, 409, 429 and 5xx are retried `config.retries` times by the openai
    package: after what Retry-After asks for (up to two minutes; a longer wait is an error), otherwise after 0.5, 1, 2,
    4, 8, 8 ... seconds, less up to a quarter by chance.
    """

    def __init__(self, config: EngineConfig, url: str, model: str, tls: ssl.SSLContext) -> None:
        """Raises ConfigError when `url` is no address."""
        self.config = config
        self.url = url
        self.model = model
        # With the line feed of a file it came from, the error about that header would show it.
        self._key = os.environ.get(config.api_key_env, "").strip()
        http = _BoundedClient(verify=tls)
        http.seconds = config.timeout
        try:
            self._client = openai.AsyncOpenAI(
                http_client=http,
                base_url=url,
                api_key=self._key or "none",  # the package wants one; servers without keys do not read it
                timeout=openai.Timeout(config.timeout, connect=min(_CONNECT_SECONDS, config.timeout)),
                max_retries=config.retries,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise ConfigError(
                f"engine.url is {url!r}, which is no address ({error}); expected one such as http://localhost:8000/v1"
            ) from None

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self,
        messages: Sequence[dict[str, Any]],
        sampling: Sampling,
        seed: int | None,
        fields: Mapping[str, Any],
        retries: int | None = None,
    ) -> Reply:
        """One answer, with `retries` in place of those of the config.  Raises EndpointError: a ServerError when it is
        not for what was asked."""
        extra = {**fields, **self.config.extra}
        if sampling.top_k:  # no part of OpenAI's API; vLLM, SGLang and llama.cpp know it
            extra.setdefault("top_k", sampling.top_k)
        _MOST_BYTES.set((1 << 20) + _BYTES_OF_A_TOKEN * sampling.max_new_tokens)  # of this request: it is a task
        client = self._client if retries is None else self._client.with_options(max_retries=retries)
        try:
            completion: Any = await client.chat.completions.create(
                model=self.model,
                messages=list(messages),  # pyright: ignore[reportArgumentType]
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=openai.omit if seed is None else seed,
                extra_body=extra,
            )
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise self._explain(error, client.max_retries) from error
        return self._reply(completion)

    def _reply(self, completion: Any) -> Reply:
        """Of a parsed response, whose fields the package does not check."""
        choices: Any = getattr(completion, "choices", None)
        message: Any = getattr(choices[0], "message", None) if choices else None
        if not isinstance(completion, ChatCompletion) or not isinstance(message, ChatCompletionMessage):
            said = completion if isinstance(completion, str) else getattr(completion, "model_dump_json", str)()
            raise ServerError(
                f"{self._where} sent something else than a chat completion: {_shortened(said)}",
                "; is engine.url the address of the API (most end in /v1)?",
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

    async def look_for_model(self) -> None:
        """ServerError now rather than after decoding videos.  Not every server lists its models, or all of them."""
        try:
            listed: Any = await self._client.with_options(max_retries=0).models.list()
            names = [str(model.id) for model in listed.data]
        except (openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._explain(error, 0) from error
        except (openai.OpenAIError, EndpointError, ValueError, AttributeError, TypeError, RecursionError):
            _log.info(
                "%s does not list its models; asking for %s without knowing that it is there", self.url, self.model
            )
            return
        if self.model not in names:
            shown = ", ".join(names[:10]) or "none"
            _log.warning("%s does not list the model %s; it lists %s", self.url, self.model, shown)

    @property
    def _where(self) -> str:
        return f"{self.url} (model {self.model})"

    def _explain(self, error: Exception, retries: int) -> EndpointError:
        """What was asked, what the server said, what to do."""
        tries = f"{retries + 1} times" if retries else "once"
        again = "then repeat the command, it continues"
        if isinstance(error, openai.APITimeoutError):
            what = f"{self._where} gave no answer within {self.config.timeout:g} s, asked {tries}"
            return ServerError(what, f"; raise engine.timeout or lower engine.concurrency, {again}")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            what = f"{self._where} cannot be reached: {_shortened(cause) or type(cause).__name__}"
            return ServerError(what, f"; is the server running and engine.url right? {again}")
        if not isinstance(error, openai.APIStatusError):
            what = f"{self._where} sent an answer that cannot be read: {_shortened(error)}"
            return ServerError(what, "; look at the server's log")
        status = error.status_code
        retried = status in _RETRIED or status >= 500
        said = _shortened(error.response.text) or "nothing"
        what = f"{self._where} answered with status {status}{f', asked {tries}' if retried else ''}; it said: {said}"
        advice = f"\n{self._advice(status)}"
        of_the_server = retried or status in (401, 403, 404)
        return ServerError(what, advice) if of_the_server else EndpointError(what + advice)

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
