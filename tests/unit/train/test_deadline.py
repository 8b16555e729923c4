"""A process that stands still names itself, its phase and its stack, and ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from sbr.train.deadline import Deadline

STANDS = """
import logging, time
from sbr.train.deadline import Deadline
logging.basicConfig(format="%(message)s")
deadline = Deadline(0.05, "process 3 of 8")
with deadline.watching(), deadline.phase("step 7"):
    for _ in range(8):  # longer than the deadline in all
        with deadline.phase("frames"):
            time.sleep(0.5)
    with deadline.phase("rollout"):
        def waits_for_ever():
            time.sleep(60)
        waits_for_ever()
"""


def test_a_phase_without_end_is_named() -> None:
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", STANDS], capture_output=True, text=True)
    assert time.monotonic() - start < 50
    assert done.returncode == 1
    assert "process 3 of 8 has stood still for 0.05 minutes in step 7 / rollout (train.deadline)" in done.stderr
    assert "in waits_for_ever" in done.stderr


def test_a_process_that_was_stopped_goes_on() -> None:
    waits = "import time\nfrom sbr.train.deadline import Deadline\nwith Deadline(0.02, 'p').watching():\n    "
    with subprocess.Popen(
        [sys.executable, "-c", waits + "print('on', flush=True)\n    time.sleep(1)"], stdout=-1
    ) as run:
        assert run.stdout and run.stdout.readline() == b"on\n"
        run.send_signal(signal.SIGSTOP)
        time.sleep(4)  # three times the deadline
        run.send_signal(signal.SIGCONT)
    assert run.returncode == 0


def test_what_ends_in_time_is_left_alone() -> None:
    deadline = Deadline(0.01, "process 0 of 1")
    with deadline.watching(), deadline.phase("step 1"):
        pass
    time.sleep(1)  # nobody watches any more
