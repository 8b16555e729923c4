"""How fast a GRPO step is: ours, the official trainer's schedule, TRL and plain transformers, side by side.

The full run (about an hour on 2 cores) writes benchmarks/results/grpo_step.json, the pictures and the tables of
docs/performance.md:

    python benchmarks/grpo_step.py

A short one:

    python benchmarks/grpo_step.py --runs 1 --sizes 30M --tokens 64 --sections check steps --out runs/grpo_step.json

Same weights, same pictures, the same number of generated tokens; float32 on the CPU; runs alternate, figures
are medians.  The JSON is written after every section, so an interrupted run keeps what it has.
"""

from __future__ import annotations

import json
import sys

import report
import tyro
from bench import ROOT, Args, Bench
from geometry import SIZES
from rich.console import Console
from sections import SECTIONS


def main(args: Args) -> int:
    known = ", ".join(SIZES)
    if unknown := sorted({*args.sizes, *args.trl_sizes, args.gemm_size} - set(SIZES)):
        raise SystemExit(f"unknown size {', '.join(unknown)}; there are {known}")
    if args.plot_only:
        result = json.loads(args.out.read_text(encoding="utf-8"))
    else:
        bench = Bench(args)
        result = bench.result
        try:
            for name in (name for name in SECTIONS if name in args.sections):  # check needs untrained weights
                result[name] = SECTIONS[name](bench)
                bench.save()
        except KeyboardInterrupt:
            bench.log(f"interrupted; {args.out} holds what was finished")
            return 130
        console = Console()
        console.print(report.terminal_table(result))
        console.print({name: round(value, 2) for name, value in result["ratios"].items()})
        console.print(f"wrote {args.out}")
    docs = args.docs or (ROOT / "docs" if args.out == Args.out else None)
    if docs is not None:
        for picture in report.plot(result, docs / "img"):
            print(f"wrote {picture}")
        report.write_markdown(result, docs / "performance.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
