"""What a process that jobs are forked from has imported: importing this module is all its work.

Importing torch and transformers takes longer than a short job; a fork of a process that has, and has computed nothing
yet, starts at once.
"""

from __future__ import annotations

import signal

from sbr.cli.console import quiet_libraries

signal.signal(signal.SIGTERM, signal.SIG_IGN)  # jobs end first; this process ends with its parent
quiet_libraries()

import sbr.distill.runner  # noqa: E402
import sbr.eval.runner  # noqa: E402
import sbr.rollout.native_engine  # noqa: E402
import sbr.train.grpo.loop  # noqa: E402
import sbr.train.sft.loop  # noqa: E402, F401
