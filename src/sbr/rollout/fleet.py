"""Servers of one model: each request goes to the one with the fewest under way, and past those that fail."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from sbr.config.asking import EngineConfig
from sbr.errors import ConfigError, EndpointError
from sbr.rollout.engine import Reply
from sbr.rollout.sampling import Sampling
from sbr.rollout.server import Server, ServerError

_AGAIN_SECONDS = 60.0
"""So often a server that was left out is asked whether it is back."""
_PATIENCE_SECONDS = 60.0
"""It has so long to answer that, and every server to list its models."""
_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
"""What it is asked, for one token."""
_MOST_FAILURES = 5
"""Servers that one request may bring down: it could be the request."""
_MOST_CONNECTIONS = 1000
"""To one server: the openai package opens no more."""
_OTHER_FILES = 256
"""That a run has open beside its connections."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Member:
    """A server and what is known of it."""

    server: Server
    room: int
    """Requests it may have under way: `engine.concurrency`, none while it is left out, one until it has answered
    again."""
    under_way: int = 0
    answers: int = 0
    failure: ServerError | None = None
    """Why it was left out, until it has answered again."""
    trials: asyncio.Task[None] | None = None


class Fleet:
    """`config.urls`, asked for `model`.  Its methods run in one event loop.

    A server that fails (`ServerError`) is left out with a warning, and each of its requests that fails goes to another.
    It comes back when it has answered a chat of one token and then one request, without retries.  A single server is
    never left out: its errors are those of the request.
    """

    def __init__(self, config: EngineConfig, model: str) -> None:
        """Raises ConfigError when the system does not allow so many connections."""
        self._concurrency = config.concurrency
        tls = httpx2.create_ssl_context()  # takes longer than all the rest
        self._members = [_Member(Server(config, url, model, tls), config.concurrency) for url in config.urls]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._several = len(self._members) > 1
        if self._several:
            _allow_connections(config)
            # It tells of every repeated request, but not of which server.
            logging.getLogger("openai").setLevel(logging.WARNING)

    @property
    def room(self) -> int:
        """Requests that may be under way now."""
        return sum(member.room for member in self._members)

    async def open(self) -> None:
        """Look for the model at every server.  Raises EndpointError when none can be asked."""
        await asyncio.gather(*map(self._look, self._members))
        self._check_room()

    async def ask(
        self, messages: Sequence[dict[str, Any]], sampling: Sampling, seed: int | None, fields: Mapping[str, Any]
    ) -> Reply:
        """One answer.  Raises EndpointError: of the only server, for what was asked, or when no server is left."""
        failures: list[ServerError] = []
        while True:
            member = await self._free_member()
            on_trial = member.failure is not None
            retries = 0 if on_trial else None
            member.under_way += 1
            try:
                reply = await member.server.ask(messages, sampling, seed, fields, retries)
            except ServerError as error:
                if not self._several:
                    raise
                self._leave_out(member, error)
                if not on_trial:
                    failures.append(error)
                if len(failures) == _MOST_FAILURES:
                    raise _together(f"{_MOST_FAILURES} servers failed at one request", failures) from None
            else:
                self._answered(member)
                return reply
            finally:
                member.under_way -= 1
                self._wake(1)

    def log_answers(self) -> None:
        """One line with the answers of each of several servers."""
        if self._several:
            counts = ", ".join(f"{member.server.url} {member.answers:,}" for member in self._members)
            _log.info("answers of each server: %s", counts)

    async def close(self) -> None:
        await asyncio.gather(*(member.server.close() for member in self._members))

    async def _look(self, member: _Member) -> None:
        if not self._several:
            await member.server.look_for_model()
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):  # the others need not wait for one that hangs
                await member.server.look_for_model()
        except ServerError as error:
            self._leave_out(member, error)
        except TimeoutError:
            cause = f"{member.server.url} has not listed its models within {_PATIENCE_SECONDS:g} s"
            self._leave_out(member, ServerError(cause, "; look at the server's log, then repeat the command"))

    async def _free_member(self) -> _Member:
        """The one to be asked next, as soon as there is one.  Raises EndpointError when none is left."""
        while not (free := [member for member in self._members if member.under_way < member.room]):
            self._check_room()
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake(1)  # it may have been this one's turn
                raise
        return min(free, key=lambda member: (member.under_way, member.answers))

    def _wake(self, count: int) -> None:
        """Let so many requests that wait look for a server."""
        while self._waiting and count:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    def _answered(self, member: _Member) -> None:
        member.answers += 1
        if member.room and member.failure is not None:
            _log.info("%s answers again", member.server.url)
            member.failure = None
            member.room = self._concurrency
            self._wake(member.room)

    def _leave_out(self, member: _Member, error: ServerError) -> None:
        if not member.room:
            return
        if member.failure is None:
            _log.warning("%s; it is left out, and asked every %g s whether it is back", error.cause, _AGAIN_SECONDS)
        member.failure, member.room = error, 0
        member.trials = asyncio.create_task(self._wait_until_back(member))
        if not self.room:
            self._wake(len(self._waiting))

    async def _wait_until_back(self, member: _Member) -> None:
        hello = Sampling(temperature=0.0, max_new_tokens=1)
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await member.server.ask(_HELLO, hello, None, {}, retries=0)
            except (ServerError, TimeoutError):
                continue
            except EndpointError:
                pass  # it refuses this chat; the next request will show
            member.room = 1
            self._wake(1)
            return

    def _check_room(self) -> None:
        if not self.room:
            failures = [member.failure for member in self._members if member.failure]
            raise _together(f"none of the {len(self._members)} servers is left", failures)


def _together(what: str, failures: Sequence[ServerError]) -> EndpointError:
    """Every cause on a line, then what to do, each advice once."""
    causes = [f"  {error.cause}" for error in failures]
    return EndpointError("\n".join([f"{what}:", *causes, *dict.fromkeys(error.advice for error in failures)]))


def _allow_connections(config: EngineConfig) -> None:
    """Each is an open file for the system, which allows few (often 1,024) until it is asked for more."""
    needed = len(config.urls) * min(config.concurrency, _MOST_CONNECTIONS) + _OTHER_FILES
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    if most != resource.RLIM_INFINITY and most < needed:
        raise ConfigError(
            f"{len(config.urls)} servers in engine.url with engine.concurrency {config.concurrency} need {needed:,} "
            f"open files, and the system allows {most:,}; lower engine.concurrency, or raise the limit (`ulimit -n`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))
