"""The guard leaves nothing of what it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sbr.rollout import guard

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def start(code: str) -> subprocess.Popen[str]:
    words = [sys.executable, guard.__file__, sys.executable, "-c", code]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_status_is_that_of_the_command() -> None:
    assert start("import sys; sys.exit(3)").wait() == 3


@pytest.mark.parametrize("ended", ["guard", "command"])
def test_a_command_that_does_not_end_and_its_child_are_gone(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(STUBBORN.replace("signal.SIG_IGN", "signal.SIG_DFL") if ended == "guard" else STUBBORN)
    assert process.stdout
    grandchild = int(process.stdout.readline())
    (command,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if ended == "guard":
        process.terminate()
    else:
        os.kill(int(command), signal.SIGKILL)
    assert process.wait(60) == (143 if ended == "guard" else 137)
    end = time.monotonic() + 10
    while alive(grandchild):
        assert time.monotonic() < end
        time.sleep(0.05)
