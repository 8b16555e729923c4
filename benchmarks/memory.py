"""Peak memory of one training pass in a fresh process; prints JSON.  Linux only.

    python benchmarks/memory.py --schedule ours --size 30M

Resident memory is read after the weights are loaded and a tiny pass has warmed up.  The peak is the process's own
high-water mark, reset just before the pass (`ru_maxrss` cannot be used: a child inherits it from its parent).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from geometry import SIZES, make_processor, make_prompt
from schedules import make_learner, training_pass


@dataclass(frozen=True)
class Pass:
    schedule: Literal["ours", "official", "repeated"]
    size: str = "30M"
    group_size: int = 8
    tokens: int = 64
    frames: int = 16
    side: int = 252


def measured(work: Pass) -> dict[str, int]:
    """Run `work` in a process of its own; bytes: "loaded", "peak" (both of the whole process) and "pass" (between)."""
    words = [word for name, value in asdict(work).items() for word in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{work} failed with status {done.returncode} (-9: out of memory):\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(work: Pass) -> dict[str, int]:
    processor = make_processor()
    learner = make_learner(work.schedule, SIZES[work.size], processor)
    prompt = make_prompt(processor, work.frames, work.side)
    _run(learner, make_prompt(processor, 2, 56), 2, 2)
    loaded = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    _run(learner, prompt, work.group_size, work.tokens)
    peak = _status("VmHWM")
    return {"loaded": loaded, "peak": peak, "pass": peak - loaded}


def _run(learner, prompt, group_size: int, tokens: int) -> None:
    completions_GL = torch.randint(20, 600, (group_size, tokens), generator=torch.Generator().manual_seed(1))
    training_pass(learner, prompt, completions_GL, torch.full(completions_GL.shape, -9.0))
    learner.optimizer.zero_grad(set_to_none=True)


def _status(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(_measure(tyro.cli(Pass, description=__doc__))))
