"""What `sbr plan` says of a run on GPUs, beside what the run takes: one line of the log.

The plan is made by a process of its own, of the lowest priority, while training goes on: started after the first step,
read after a later one, ended with the run.  AdamW makes its moments in the first step, so only the peak of later ones
has everything in it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sbr.config.recipes import TrainRecipe
from sbr.train import run_folder

GIB = 1 << 30
FAR = 0.1
"""Planned and measured may differ by so much without a hint."""
OF_LAUNCHERS = ("RANK", "LOCAL_", "WORLD_SIZE", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_")
"""Beginnings of variables that say which process this is; the plan is none of them."""

logger = logging.getLogger(__name__)


class Planned:
    """Logs a line once for every recipe that is trained; a cold start is one, and GRPO after it another."""

    def __init__(self) -> None:
        self._recipe: TrainRecipe | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="sbr-plan-")

    def took(self, recipe: TrainRecipe, processes: int, taken: int) -> None:
        """As of `sbr.train.learner.Watcher`."""
        if recipe is not self._recipe:
            self._end()
            self._recipe, self._process = recipe, self._start(recipe, processes)
        elif self._process is not None and self._process.poll() is not None:
            self._process = None
            self._say(taken)

    def stop(self) -> None:
        """The run ends; a plan that is not ready is given up."""
        self._end()
        self._folder.cleanup()

    @property
    def _file(self) -> Path:
        return Path(self._folder.name) / "plan.json"

    def _start(self, recipe: TrainRecipe, processes: int) -> subprocess.Popen[bytes]:
        import torch

        from sbr.train.sharding import local_processes, memory_of_process

        self._file.unlink(missing_ok=True)
        nodes = max(1, processes // local_processes())
        memory = memory_of_process(torch.device("cuda")) / GIB
        words = ("--gpus", str(processes), "--nodes", str(nodes), "--memory", str(memory), "--json", str(self._file))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_LAUNCHERS)}
        process = subprocess.Popen(
            [sys.executable, "-m", "sbr", "plan", str(recipe.output_dir / run_folder.RECIPE), *words],
            env=environment | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        return process

    def _say(self, taken: int) -> None:
        assert self._recipe is not None
        if not self._file.exists():
            file = self._recipe.output_dir / run_folder.RECIPE
            logger.warning("memory: %.1f GiB taken; no plan to compare with: sbr plan %s says why", taken / GIB, file)
            return
        logger.info("%s", comparison(json.loads(self._file.read_bytes()), taken))

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def comparison(plan: dict, taken: int) -> str:
    """`plan` as `sbr plan --json` writes it.

    >>> comparison({"peak_bytes": 10 << 30, "peak_phase": "update", "gpus": 2, "memory_bytes": 80 << 30}, 10 << 30)
    'memory: 10.0 GiB taken at most (2 GPUs of 80.0 GiB), 10.0 GiB planned (update): 1.00'
    """
    ratio = taken / plan["peak_bytes"]
    gpus = f"{plan['gpus']} GPU{'s' if plan['gpus'] > 1 else ''} of {plan['memory_bytes'] / GIB:.1f} GiB"
    planned = f"{plan['peak_bytes'] / GIB:.1f} GiB planned ({plan['peak_phase']})"
    line = f"memory: {taken / GIB:.1f} GiB taken at most ({gpus}), {planned}: {ratio:.2f}"
    if abs(ratio - 1) <= FAR:
        return line
    if ratio < 1:
        return line + "; a plan has every completion at its longest and every prompt with all its frames"
    return line + "; a plan counts no looks of [validation], no other sampler and no CUDA graphs (docs/performance.md)"
