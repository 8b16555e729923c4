"""Python processes that start at once: forks of one that has imported everything.

Importing torch and transformers takes longer than most of what a test does in a process of its own.  So a server, one
for each process of pytest, imports them once; `start` asks it for a fork, which then is an ordinary Python with
arguments, environment and output of its own, and ends as one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

IMPORTED = (
    *("torch", "torch.distributed.fsdp", "torch.distributed.checkpoint", "torch.distributed.tensor", "accelerate"),
    *("peft", "av", "openai", "sbr.cli.main", "sbr.cli.training", "sbr.train.grpo.loop", "sbr.train.sft.loop"),
    *("sbr.eval.runner", "sbr.distill.runner", "sbr.rollout.native_engine", "sbr.rollout.endpoint_engine"),
    *("sbr.cli.eval", "sbr.cli.distill", "sbr.cli.grpo", "sbr.cli.sft", "sbr.cli.data_cache"),
    *("transformers.models.qwen2_vl.modeling_qwen2_vl", "transformers.models.qwen2_vl.processing_qwen2_vl"),
    *("transformers.models.auto.modeling_auto", "transformers.models.auto.processing_auto"),
    *("transformers.models.qwen2_vl.video_processing_qwen2_vl", "transformers.models.auto.tokenization_auto"),
)
GRACE = 30.0
"""Seconds that the others have when one has failed."""
POLLED = 0.005
"""Seconds between looks at a process that is waited for."""


class Forked:
    """One process; like `subprocess.Popen`, output and errors together in the file `log`."""

    def __init__(self, words: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self.returncode: int | None = None
        self.log = log
        self.pid: int = _ask(
            {
                "words": [str(word) for word in words],
                "environment": {"OMP_NUM_THREADS": "1", **environment},
                "folder": str(Path.cwd()),
                "log": str(log),
            }
        )

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float = 900) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < end, f"still running after {timeout} s:\n{self.output}"
            time.sleep(POLLED)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is not None:
            self.kill()
        self.wait()


class Processes:
    """Several that join each other, as `torchrun` starts them on one machine.

    When one fails, the others are asked to end and after a while killed.
    """

    def __init__(self, count: int, words: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        own = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(count)]
        told = [{**environment, **{key: str(value) for key, value in facts.items()}} for facts in own]
        self._last: float | None = None
        """When those that did not end are killed."""
        self.workers = [Forked(words, facts, _new_log()) for facts in told]

    def poll(self) -> int | None:
        """0 when all have ended well, the first failure when all have ended."""
        codes = [worker.poll() for worker in self.workers]
        failures = [code for code in codes if code]
        if failures and self._last is None:
            self._last = time.monotonic() + GRACE
            for worker in self.workers:
                worker.send_signal(signal.SIGTERM)
        elif self._last is not None and time.monotonic() > self._last:
            self.kill()
        return None if None in codes else next(iter(failures), 0)

    @property
    def output(self) -> str:
        return "".join(worker.output for worker in self.workers)

    wait = Forked.wait
    __enter__ = Forked.__enter__
    __exit__ = Forked.__exit__

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()


def start(*words: str | Path, log: Path | None = None, environment: Mapping[str, str] | None = None) -> Forked:
    """Python with these words (-c CODE, -m MODULE or a file first) and with these variables beside our own."""
    return Forked(words, {**os.environ, **(environment or {})}, log or _new_log())


def run(*words: str | Path, environment: Mapping[str, str] | None = None) -> Forked:
    """The same, to its end."""
    process = start(*words, environment=environment)
    process.wait()
    return process


def torchrun(*words: str | Path, processes: int = 2) -> Processes:
    return Processes(processes, words, os.environ)


def _new_log() -> Path:
    number, file = tempfile.mkstemp(prefix="forked-", suffix=".log", dir=_server()[1])
    os.close(number)
    return Path(file)


@cache
def _server() -> tuple[subprocess.Popen[str], str]:
    folder = tempfile.mkdtemp(prefix="sbr-tests-")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    return server, folder


def _ask(request: dict[str, Any]) -> Any:
    server = _server()[0]
    assert server.stdin and server.stdout
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    said = server.stdout.readline()
    assert said, "the server of forks has ended"
    return json.loads(said)


def _serve() -> None:
    """Answer requests until there are none; in a fork, return the words that it is to run."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or every fork would copy the memory of all these objects
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is imported may print
    requests = os.fdopen(os.dup(0), "r")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of pytest is not for us
    while line := requests.readline():
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(request, [requests, answers])
                return
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    sys.exit()


def _become(request: dict[str, Any], ours: Sequence[IO[str]]) -> None:
    for stream in ours:
        os.close(stream.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["words"]
    sys.path[0:1] = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]


def _main() -> None:
    _serve()
    code = 0
    try:
        _run(*sys.argv)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends, but for a second of taking apart all that was imported.
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(kind: str, *words: str) -> None:
    rest = list(words)
    match kind:
        case "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path.insert(0, "")
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        case "-m":
            sys.argv = rest
            sys.path.insert(0, "")
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        case file:
            sys.path.insert(0, str(Path(file).parent))
            runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    _main()
