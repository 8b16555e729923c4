"""Runs a command, and leaves nothing of it when this process is told to end or the command ends by itself.

    python guard.py COMMAND...

A server of vLLM that is asked to end in the middle of a request may wait for ever, and its workers outlive it when it
is killed.  This file imports nothing of the package: it starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

PATIENCE = 15.0
"""Seconds that the command has to end by itself."""


def main() -> int:
    """The status of the command, 128 + signal when one ended it, or 143 when this process was told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = subprocess.Popen(sys.argv[1:], start_new_session=True)  # a group, which can be ended as one
    try:
        status = command.wait()
    except SystemExit:
        command.terminate()
        with suppress(subprocess.TimeoutExpired):
            command.wait(PATIENCE)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
