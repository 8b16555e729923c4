"""kill -9 at random moments of runs on two processes, and the same command again, against a run that nobody killed.

    python benchmarks/kills.py --kills 30

GRPO on a small miniature with weights in parts.  At a random moment one of the two processes, or both, are killed; the
command is repeated as a launcher repeats it (SLURM_RESTART_COUNT) until the run ends.  Then metrics.jsonl (without
times), completions.jsonl and the final weights have to be those of the uninterrupted run, byte for byte.  Prints one
line of JSON a run and the sum.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.mini.build import build

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import forked

RECIPE = Path(__file__).parents[1] / "recipes" / "mini" / "grpo.toml"


@dataclass(frozen=True)
class Args:
    kills: int = 30
    """In all; a run gets as many as fall into it."""
    steps: int = 12
    save_every: int = 2
    seed: int = 0


def words(root: Path, out: Path, args: Args) -> list[str]:
    flags = {
        "data.root": root,
        "output_dir": out,
        "train.sharding": "full",
        "train.prompts_per_step": 4,
        "train.prompts_per_microbatch": 2,
        "train.max_steps": args.steps,
        "train.save_every": args.save_every,
        "log.completions_every": 1,
        "train.deadline": 2.0,
    }
    return [
        "-m",
        "sbr",
        "grpo",
        str(RECIPE),
        *(word for key, value in flags.items() for word in (f"--{key}", str(value))),
    ]


def left(out: Path) -> tuple[list[dict], str, str]:
    """What a finished run leaves, without its times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if "second" not in key} for line in lines]
    files = [out / "completions.jsonl", *sorted((out / "final").glob("*.safetensors"))]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return kept, digests[0], digests[1]


def main(args: Args) -> None:
    draw = random.Random(args.seed)
    os.environ["SLURM_RESTART_COUNT"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder / "data", train=64, val=4, seed=0, workers=1)
        with forked.torchrun(*words(folder / "data", folder / "whole", args)) as run:
            assert run.wait() == 0, run.output  # the first run also decodes the frames
        started = time.monotonic()
        with forked.torchrun(*words(folder / "data", folder / "again", args)) as run:
            assert run.wait() == 0, run.output
        seconds = time.monotonic() - started
        expected = left(folder / "whole")
        assert left(folder / "again") == expected, "two runs that nobody killed differ"
        total, runs, different = 0, 0, 0
        found: Counter[str] = Counter()
        while total < args.kills:
            out, launches, kills = folder / f"run-{runs}", 0, 0
            while True:
                launches += 1
                run = forked.torchrun(*words(folder / "data", out, args))
                if total + kills < args.kills:
                    end = time.monotonic() + draw.uniform(0, 1.1) * seconds
                    while run.poll() is None and time.monotonic() < end:
                        time.sleep(0.005)
                    if run.poll() is None:
                        victims = draw.choice(([0], [1], [0, 1]))
                        for victim in victims:
                            run.workers[victim].kill()
                        kills += 1
                        found["both" if len(victims) == 2 else f"process {victims[0]}"] += 1
                code = run.wait()
                if code == 0:
                    break
                assert launches < 60, run.output
            same = left(out) == expected
            different += not same
            print(json.dumps({"run": runs, "kills": kills, "launches": launches, "equal": same}), flush=True)
            shutil.rmtree(out)
            total, runs = total + kills, runs + 1
        print(json.dumps({"kills": total, "runs": runs, "different": different, "killed": found, "seconds": seconds}))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
