"""The `sbr` command: finds the verb, runs it, and turns every user error into one message and exit status 2."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from sbr import __version__
from sbr.errors import SbrError


@dataclass(frozen=True, slots=True)
class Verb:
    module: str
    summary: str


VERBS = {
    "demo": Verb("sbr.cli.demo", "build the miniature, distil, SFT, GRPO, evaluate every model, print the table"),
    "data": Verb("sbr.cli.data", "check a data root; build or download one; decode its clips once"),
    "mini": Verb("sbr.cli.mini", "build the miniature benchmark, or pretrain its base model"),
    "grpo": Verb("sbr.cli.grpo", "post-train a model with GRPO from a recipe"),
    "distill": Verb("sbr.cli.distill", "collect chains of thought from a stronger model by rejection sampling"),
    "sft": Verb("sbr.cli.sft", "fine-tune a model on chains of thought from a recipe"),
    "eval": Verb("sbr.cli.eval", "answer the benchmark's questions and print accuracy per level and domain"),
    "score": Verb("sbr.cli.score", "read the answers of a finished evaluation by another rule, without a model"),
    "controls": Verb("sbr.cli.controls", "what part of a score is not vision: blind runs, rotated options, letters"),
    "compare": Verb("sbr.cli.compare", "compare two finished evaluations question by question"),
}

HELP = """\
sbr {version} - GRPO post-training of video models on SEED-Bench-R1, and its evaluation

usage: sbr VERB [arguments]      (sbr VERB --help explains a verb)

{verbs}

examples:
  sbr demo                                               the whole path on the miniature, in minutes on a CPU
  sbr data check data/SEED-Bench-R1                      is everything there?
  sbr data cache data/SEED-Bench-R1                      decode every clip once; later runs read the frames
  sbr grpo recipes/qwen2vl_7b/grpo.toml --train.seed 1   the paper's run
  sbr eval --model runs/grpo/final --data data/SEED-Bench-R1 --out runs/grpo/eval
"""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 the verb found problems, 2 wrong use or bad input, 130 interrupted."""
    errors = Console(stderr=True, soft_wrap=True)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        verbs = "\n".join(f"  {name:<9}{verb.summary}" for name, verb in VERBS.items())
        sys.stdout.write(HELP.format(version=__version__, verbs=verbs))
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"sbr {__version__}\n")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        errors.print(f"[bold red]error:[/] unknown verb {escape(repr(name))}; one of: {', '.join(VERBS)}")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=errors)])
    # torchao, if installed, is imported by transformers and there calls a function that torch is about to remove.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request to an endpoint
    try:
        importlib.import_module(VERBS[name].module).run(rest)
    except SbrError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}")
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted; run the same command again to continue where it can be continued")
        return 130
    return 0
