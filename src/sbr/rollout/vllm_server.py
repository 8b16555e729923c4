"""A server of vLLM that follows a policy: how it is started beside a training process, and how it is spoken to."""

from __future__ import annotations

import atexit
import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from sbr.errors import CheckpointError, ConfigError, EndpointError
from sbr.rollout import guard

FOLLOWER = "sbr.rollout.vllm_worker.Follower"
NAME = "policy"
"""Of the model at a server that was started here."""
_LAUNCHER = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT"),
)
"""Variables of torchrun: vLLM would take them for its own."""
PAUSES = (1.0, 5.0, 20.0)
"""Seconds before a request whose connection was lost is sent again."""
_SHOWN = 2000
"""Characters of what a server said last that a message shows."""

_log = logging.getLogger(__name__)


class VllmServer:
    """One server at `url` (without /v1).  `started` is its process when it is ours."""

    def __init__(
        self, url: str, timeout: float, started: subprocess.Popen[bytes] | None = None, log: Path | None = None
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        # A connection that waits for the next step is closed by the server, and sometimes just when it is used again.
        fresh = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.Client(timeout=httpx2.Timeout(timeout, connect=10.0), limits=fresh)
        self._started = started
        self._log = log

    def post(self, path: str, body: dict[str, Any] | None = None, **parameters: Any) -> Any:
        """The JSON that the server answers, None for an empty answer.

        A lost connection is tried again after each of `PAUSES`; asked twice, a server does the same.  Raises
        EndpointError.
        """
        said = self._send(path, body, parameters)
        if said.status_code != 200:
            raise EndpointError(
                f"vLLM at {self.url} answered {path} with status {said.status_code}: {_tail(said.text)}"
            )
        try:
            return said.json() if said.content else None
        except ValueError as error:
            raise EndpointError(f"vLLM at {self.url} answered {path} with no JSON: {_tail(said.text)}") from error

    def _send(self, path: str, body: dict[str, Any] | None, parameters: dict[str, Any]) -> httpx2.Response:
        for pause in (*PAUSES, None):
            try:
                return self._http.post(f"{self.url}{path}", json=body, params=parameters)
            except httpx2.HTTPError as error:
                lost = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
                if pause is None or not lost or self._ended:
                    raise EndpointError(self._gone(path, error)) from error
                _log.warning("vLLM at %s%s: %s; it is asked again in %g s", self.url, path, error, pause)
                time.sleep(pause)
        raise AssertionError

    def call(self, method: str, *arguments: str) -> list[Any]:
        """A method of `sbr.rollout.vllm_worker.Follower` on every worker; what each returned."""
        said = self.post("/collective_rpc", {"method": method, "args": list(arguments)})
        return said["results"] if said else []

    def model(self) -> str:
        """The name of its model.  Raises EndpointError when it is not there."""
        try:
            listed = self._http.get(f"{self.url}/v1/models").json()
            return str(listed["data"][0]["id"])
        except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(self._gone("/v1/models", error)) from error

    def wait(self) -> None:
        """Until it answers.  Raises CheckpointError when its process has ended; `train.deadline` ends the wait."""
        while True:
            try:
                if self._http.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            if self._started is not None and self._ended:
                raise CheckpointError(
                    f"vLLM ended with status {self._started.returncode} before it was ready; the end of {self._log}:\n"
                    f"{self._last_words()}\nwhen the GPU's memory is the reason, change rollout.vllm.gpu_memory"
                )
            time.sleep(0.5)

    def close(self) -> None:
        """End what was started here (`sbr.rollout.guard`)."""
        self._http.close()
        if self._started is not None:
            self._started.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._started.wait(guard.PATIENCE + 5)

    def _gone(self, path: str, error: Exception) -> str:
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        if self._started is None:
            return f"vLLM at {self.url}{path} does not answer ({cause}); start it again and continue with --resume"
        state = f"has ended with status {self._started.returncode}" if self._ended else f"does not answer ({cause})"
        return (
            f"vLLM, started by this run, {state}; continue with --resume; the end of {self._log}:\n{self._last_words()}"
        )

    @property
    def _ended(self) -> bool:
        return self._started is not None and self._started.poll() is not None

    def _last_words(self) -> str:
        return _tail(self._log.read_text(encoding="utf-8", errors="replace")) if self._log else ""


def start_server(
    folder: str,
    dtype: str,
    length: int,
    *,
    pictures: int,
    gpu: int | None,
    gpu_memory: float,
    eager: bool,
    timeout: float,
    log: Path,
) -> VllmServer:
    """vLLM with the checkpoint in `folder` on 127.0.0.1, for sequences of up to `length` tokens; `wait` comes next.

    `gpu` is which of this process's visible GPUs it uses, None on a CPU.  What it prints goes to `log`.  It ends with
    this process, also when that is killed (on Linux).

    Raises ConfigError when vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            'rollout.sampler is "vllm", but vLLM is not installed: pip install "seed-bench-r1[vllm]", or name servers '
            "that run elsewhere in rollout.vllm.urls"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, guard.__file__]
    words += [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *server_words(folder, dtype, length, pictures),
    ]
    words += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    words += ["--gpu-memory-utilization", str(gpu_memory)]
    words += ["--enforce-eager"] if eager else []
    # With chunks a seed fails on a CPU ("CPU Generator does not use offset").
    words += ["--no-enable-chunked-prefill"] if gpu is None else ["--enable-sleep-mode"]
    environment = {
        key: value for key, value in os.environ.items() if key not in _LAUNCHER and "TORCHELASTIC" not in key
    }
    environment |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    if gpu is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[gpu] if gpu < len(visible) and visible[gpu] else str(gpu)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which then ends it
            preexec_fn=_end_with_parent,
        )
    server = VllmServer(f"http://127.0.0.1:{port}", timeout, process, log)
    atexit.register(server.close)
    return server


def server_words(folder: str, dtype: str, length: int, pictures: int) -> list[str]:
    """Options that a server needs, wherever it runs (docs/pipeline.md prints them)."""
    return [
        *("--model", folder, "--dtype", dtype, "--max-model-len", str(length)),
        *("--limit-mm-per-prompt", json.dumps({"video": 1, "image": pictures})),
        *("--generation-config", "vllm", "--trust-request-mm-kwargs"),
        *("--logprobs-mode", "raw_logprobs", "--worker-extension-cls", FOLLOWER),
    ]


def _end_with_parent() -> None:
    """In the new process: SIGTERM when the one that started it ends, however it ends (prctl, Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _tail(text: str) -> str:
    return text.strip()[-_SHOWN:]
