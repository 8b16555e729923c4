"""A real HTTP server that speaks the part of OpenAI's API that is used, with answers and faults to order."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Said:
    """One response.  `body`: text as it is, or something to be written as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    content_type: str = "application/json"
    drip: float = 0.0
    """Seconds before each single byte of the body."""


def completion(text: Any, finish: str = "stop", tokens: Any = 5, delay: float = 0.0, **message: Any) -> Said:
    """A chat completion; further keys of the message (reasoning_content) by name."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 12}
    return Said(body, delay=delay)


def compressed(said: Said) -> Said:
    return Said(gzip.compress(json.dumps(said.body).encode()), headers={"content-encoding": "gzip"})


Respond = Callable[[int, dict[str, Any]], Said]
"""(number of the chat request from 0, its body) -> what to say."""


class ChatServer:
    """with ChatServer(lambda number, body: completion("A")) as server: ... server.url, server.requests, server.peak"""

    def __init__(self, respond: Respond, models: Said | None = None, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.peak = 0
        self.respond = respond
        self.models = models or Said({"object": "list", "data": [{"id": "m", "object": "model"}]})
        self._open = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._killed = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                outer._closing.wait(outer.models.delay)
                self._say(outer.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.times.append(time.monotonic())
                    outer._open += 1
                    outer.peak = max(outer.peak, outer._open)
                try:
                    said = outer.respond(number, body)
                    outer._closing.wait(said.delay)
                finally:
                    with outer._lock:
                        outer._open -= 1
                self._say(said)

            def _say(self, said: Said) -> None:
                if outer._killed:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                text = said.body if isinstance(said.body, str | bytes) else json.dumps(said.body)
                content = text.encode() if isinstance(text, str) else text
                try:
                    self.send_response(said.status)
                    for name, value in {"content-type": said.content_type, **said.headers}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    for byte in content if said.drip else ():
                        outer._closing.wait(said.drip)
                        self.wfile.write(bytes([byte]))
                    if not said.drip:
                        self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def kill(self) -> None:
        """Drop the requests under way, refuse new ones."""
        self._killed = True
        self.__exit__()

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
