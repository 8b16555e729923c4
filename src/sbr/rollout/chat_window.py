"""Many chats with one model: as many requests under way as its servers take, every reply given when it is there."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from sbr.errors import SbrError
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.engine import Reply
from sbr.rollout.sampling import Sampling

ItemT = TypeVar("ItemT")

_GRACE_SECONDS = 30.0
"""After a failure, requests under way get so long to finish: they are paid for, and their answers are kept."""
_LOOK_SECONDS = 0.5
"""Without an answer for so long, see whether a server is back and takes more requests."""


@dataclass(frozen=True, slots=True)
class ChatRequest(Generic[ItemT]):
    """One chat, and what it is about."""

    item: ItemT
    messages: Sequence[dict[str, Any]]
    seed: int | None
    fields: Mapping[str, Any] | None = None
    """Further ones of the request."""


def replies(
    client: ChatClient, requests: Iterator[ChatRequest[ItemT]], sampling: Sampling
) -> Generator[list[tuple[ItemT, Reply]], None, None]:
    """Replies in the order of arrival; each list is to be stored before the next is asked for.

    `requests` is read lazily and may raise.  After a final failure nothing new is asked; what is under way may finish
    for half a minute and is given; then the error is raised.  Closing the generator drops the requests under way.
    """
    pending: dict[Future[Reply], ItemT] = {}
    finished: SimpleQueue[Future[Reply]] = SimpleQueue()
    failure: SbrError | None = None
    deadline: float | None = None
    try:
        while True:
            # Answers that are there go before further requests, whose making may take its time.
            while failure is None and len(pending) < client.room and finished.empty():
                try:
                    request = next(requests)
                except StopIteration:
                    break
                except SbrError as error:
                    failure = error
                    break
                future = client.submit(request.messages, sampling, request.seed, request.fields)
                pending[future] = request.item
                future.add_done_callback(finished.put)
            if failure is not None and deadline is None:
                deadline = time.perf_counter() + _GRACE_SECONDS
            left = None if deadline is None else deadline - time.perf_counter()
            if not pending or (left is not None and left <= 0):
                break
            arrived: list[tuple[ItemT, Reply]] = []
            for future in _all_of(finished, _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)):
                item = pending.pop(future)
                try:
                    arrived.append((item, future.result()))
                except SbrError as error:
                    failure = failure or error
            if arrived:
                yield arrived
    finally:
        for future in pending:
            future.cancel()
    if failure is not None:
        raise failure


def _all_of(finished: SimpleQueue[Future[Reply]], seconds: float) -> Iterator[Future[Reply]]:
    """Those that are there, or the first that comes; after so many seconds none."""
    try:
        yield finished.get(timeout=seconds)
        while True:
            yield finished.get_nowait()
    except Empty:
        return
