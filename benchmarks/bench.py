"""What the sections of grpo_step.py share: settings, models, alternating steps, the result and its file."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import report
import torch
from geometry import SIZES, make_processor, make_prompt
from rich.console import Console
from schedules import SCHEDULES, Learner, make_learner, step

from sbr.types import Prompt

ROOT = Path(__file__).resolve().parent.parent

Section = Literal["check", "steps", "trl", "evaluation", "growth", "gemm", "profile", "memory", "curves"]


@dataclass(frozen=True)
class Args:
    runs: int = 3
    """Alternating runs of every figure."""
    large_runs: int = 2
    """The same for the steps of every size but the first, which take minutes each."""
    sizes: tuple[str, ...] = ("30M", "100M")
    """Models of the steps; the first is the one of all other sections and of the headline ratios."""
    tokens: tuple[int, ...] = (64, 150)
    """Tokens of a completion; the first is the one of the headline ratios."""
    trl_sizes: tuple[str, ...] = ("30M",)
    gemm_size: str = "100M"
    """Model whose training pass is compared with the rate of matrix products."""
    group_size: int = 8
    frames: int = 16
    side: int = 252
    """Pixels a side of frames and image."""
    questions: int = 16
    """Evaluation questions; ours answers them in one batch."""
    eval_tokens: tuple[int, ...] = (64, 150, 256)
    """Tokens of their answers; the official loop stops at 256.  150 is the one of the headline ratio."""
    curve_groups: tuple[int, ...] = (2, 4, 8, 16, 32)
    curve_frames: tuple[int, ...] = (4, 8, 16, 32)
    curve_tokens: tuple[int, ...] = (32, 64, 128, 256, 512)
    curve_runs: int = 1
    curve_limit: int = 256
    """The baseline is measured while group size x frames is at most this (it needs the memory of every row), and while
    the completion has at most this many tokens (it needs minutes)."""
    sections: tuple[Section, ...] = get_args(Section)
    out: Path = ROOT / "benchmarks" / "results" / "grpo_step.json"
    docs: Path | None = None
    """Folder whose performance.md and img/ receive tables and pictures (default: docs/ if `out` is)."""
    add: bool = False
    """Keep what else an existing `out` holds: other sections, and steps of other sizes and lengths."""
    plot_only: bool = False
    """Measure nothing; write tables and pictures again from `out`."""


class Bench:
    """The result so far and everything the sections share."""

    def __init__(self, args: Args) -> None:
        self.args = args
        self.processor = make_processor()
        self.console = Console(stderr=True)
        self.start = time.perf_counter()
        self._learners: tuple[str, dict[str, Learner]] | None = None
        names = ("torch", "transformers", "trl", "accelerate", "seed-bench-r1")
        self.result: dict[str, Any] = {
            "ratios": {},
            "settings": {
                name: value for name, value in asdict(args).items() if name not in ("out", "docs", "plot_only", "add")
            },
            "seeds": {"weights": 0, "pictures": 0, "completions_of_checks": 1, "rollouts": 0},
            "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
            "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        }
        if args.add:
            before = json.loads(args.out.read_text(encoding="utf-8"))
            same = before["settings"].keys() - {"sections", "sizes", "tokens", "runs", "large_runs"}
            now = json.loads(json.dumps(self.result["settings"]))
            if changed := [name for name in same if before["settings"][name] != now[name]]:
                raise SystemExit(f"{args.out} was measured with other settings: {', '.join(changed)}")
            self.result |= before

    def learners(self, size: str) -> dict[str, Learner]:
        """One learner a schedule; the two baselines share theirs.  Only one size is held at a time."""
        if self._learners is None or self._learners[0] != size:
            self._learners = None
            ours, plain = (make_learner(name, SIZES[size], self.processor) for name in ("ours", "official"))
            repeated = replace(plain, schedule=SCHEDULES["repeated"])
            self._learners = size, {"ours": ours, "repeated": repeated, "official": plain}
        return self._learners[1]

    def prompt(self, frames: int | None = None, seed: int = 0) -> Prompt:
        return make_prompt(self.processor, frames or self.args.frames, self.args.side, seed)

    def steps(self, names: Iterable[str], size: str, prompt: Prompt, group: int, tokens: int, runs: int) -> dict:
        """seconds[name][stage][run], alternating."""
        seconds: dict[str, dict[str, list[float]]] = {}
        for run in range(runs):
            for name in names:
                found = step(self.learners(size)[name], prompt, group, tokens)
                for stage, value in found.items():
                    seconds.setdefault(name, {}).setdefault(stage, []).append(value)
                self.log(
                    f"{size}, {len(prompt)} prompt tokens, G={group}, {tokens} tokens, run {run + 1}/{runs}, "
                    f"{name}: {found['step']:.2f} s"
                )
        return seconds

    def about(self, size: str, prompt: Prompt, tokens: int) -> dict[str, Any]:
        parameters = sum(parameter.numel() for parameter in self.learners(size)["ours"].policy.parameters())
        return {
            "size": size,
            "parameters": parameters,
            "prompt_tokens": len(prompt),
            "group_size": self.args.group_size,
            "tokens": tokens,
        }

    def log(self, text: str) -> None:
        self.console.print(
            f"[dim]{(time.perf_counter() - self.start) / 60:6.1f} min[/]  {text}", highlight=False, soft_wrap=True
        )

    def save(self) -> None:
        """Atomically: a kill leaves the file as it was after the section before."""
        self.result["ratios"] = report.ratios(self.result)
        self.result["minutes"] = (time.perf_counter() - self.start) / 60
        self.args.out.parent.mkdir(parents=True, exist_ok=True)
        draft = self.args.out.with_name(f".{self.args.out.name}.tmp")
        draft.write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.args.out)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
