"""The `sbr` command: finds the verb, runs it, and turns every user error into one message and exit status 2."""

from __future__ import annotations

import importlib
import io
import logging
import re
import select
import sys
from dataclasses import dataclass

from rich.text import Text

from sbr import __version__
from sbr.cli.console import (
    ERRORS,
    READER_LEFT,
    LogLines,
    has_control,
    leave_quietly,
    quiet_libraries,
    show_traceback,
)
from sbr.errors import SbrError, StoppedError, explain_os_error


@dataclass(frozen=True, slots=True)
class Verb:
    module: str
    summary: str
    memory: str = ""
    """What to lower when memory runs out."""


_MEDIA = "frames.max_frames, frames.height and frames.width"
_TRAINING = f"train.prompts_per_microbatch, {_MEDIA}; set model.gradient_checkpointing; or add [lora]"

VERBS = {
    "demo": Verb("sbr.cli.demo", "build the miniature, distil, SFT, GRPO, evaluate every model, print the table"),
    "data": Verb("sbr.cli.data", "check a data root; build or download one; decode its clips once", "--workers"),
    "mini": Verb("sbr.cli.mini", "build the miniature benchmark, or pretrain its base model", "--workers"),
    "grpo": Verb(
        "sbr.cli.grpo",
        "post-train a model with GRPO from a recipe",
        f"rollout.group_size, rollout.max_new_tokens, {_TRAINING}",
    ),
    "distill": Verb(
        "sbr.cli.distill",
        "collect chains of thought from a stronger model by rejection sampling",
        f"distill.batch_size, distill.max_new_tokens, {_MEDIA}",
    ),
    "sft": Verb("sbr.cli.sft", "fine-tune a model on chains of thought from a recipe", _TRAINING),
    "study": Verb(
        "sbr.cli.study", "many runs as one: arms x seeds x bases; runs what is missing, lists it for a cluster"
    ),
    "plan": Verb(
        "sbr.cli.plan", "say what a training recipe takes on each GPU, whether it fits, and what to change if not"
    ),
    "eval": Verb(
        "sbr.cli.eval",
        "answer the benchmark's questions and print accuracy per level and domain",
        f"eval.batch_size, eval.max_new_tokens, {_MEDIA}",
    ),
    "merge": Verb("sbr.cli.merge", "write an adapter and its base as one ordinary model folder", "--dtype"),
    "card": Verb("sbr.cli.card", "write the results of evaluations into a model card"),
    "score": Verb("sbr.cli.score", "read the answers of a finished evaluation by another rule, without a model"),
    "controls": Verb("sbr.cli.controls", "what part of a score is not vision: blind runs, rotated options, letters"),
    "compare": Verb("sbr.cli.compare", "compare two finished evaluations question by question"),
    "published": Verb("sbr.cli.published", "what papers report on the benchmarks, with intervals and contradictions"),
    "analyze": Verb("sbr.cli.analyze", "attention, consistency, cases and curves of finished runs", _MEDIA),
    "export": Verb("sbr.cli.export", "the benchmark as tasks of other frameworks"),
    "report": Verb("sbr.cli.report", "one page of everything that runs did: tables, curves, cases side by side"),
}

HELP = """\
sbr {version} - GRPO post-training of video models on SEED-Bench-R1, and its evaluation

usage: sbr VERB [arguments]      (sbr VERB --help explains a verb)

{verbs}

examples:
  sbr demo                                               the whole path on the miniature, on a CPU
  sbr data check data/SEED-Bench-R1                      is everything there?
  sbr data cache data/SEED-Bench-R1                      decode every clip once; later runs read the frames
  sbr plan recipes/qwen2vl_7b/grpo.toml --gpus 8         what it takes on each GPU
  sbr grpo recipes/qwen2vl_7b/grpo.toml --train.seed 1   the paper's run
  sbr study recipes/mini/study.toml --jobs 2             several arms and seeds; what is finished is not run again
  sbr eval --model runs/grpo/final --data data/SEED-Bench-R1 --out runs/grpo/eval
"""


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few letters shows \\u2026 and goes on
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = show_traceback
    logging.captureWarnings(True)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 the verb found problems, 2 wrong use or bad input, 130, 143 stopped, 141 nobody reads."""
    try:
        return _run(arguments)
    except StoppedError as stop:
        ERRORS.print(str(stop))
        return stop.exit_status
    except SbrError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        ERRORS.print("interrupted; run the same command again to continue where it can be continued")
        return 130
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        leave_quietly()
        return READER_LEFT
    except OSError as error:
        return _refuse(explain_os_error(error))
    except (MemoryError, RuntimeError) as error:
        if (words := out_of_memory(error, arguments[0])) is None:
            raise
        return _refuse(words)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        verbs = "\n".join(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items())
        sys.stdout.write(HELP.format(version=__version__, verbs=verbs))
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"sbr {__version__}\n")
        return 0
    name, *rest = arguments
    if odd := next((word for word in arguments if has_control(word)), None):
        return _refuse(f"the argument {odd!a} holds characters that cannot be shown; write or name it otherwise")
    if name not in VERBS:
        return _refuse(f"unknown verb {name!r}; one of: {', '.join(VERBS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogLines(ERRORS)])
    quiet_libraries()
    importlib.import_module(VERBS[name].module).run(rest)
    sys.stdout.flush()  # here a reader that has left is noticed, not when Python ends
    return 0


def _refuse(message: str) -> int:
    ERRORS.print(Text.assemble(("error:", "bold red"), " ", message))
    return 2


def out_of_memory(error: Exception, verb: str) -> str | None:
    """What to say of a MemoryError, or of what torch raises in its place, on a GPU or a CPU; None of other errors."""
    if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
        return None
    first_line = (str(error).strip().splitlines() or ["no more can be had"])[0]
    lower = VERBS[verb].memory
    return f"out of memory: {first_line}" + (f"; lower {lower}" if lower else "")


def _reader_has_left() -> bool:
    """Whether standard output is a pipe that nobody reads; other broken pipes are no business of the reader's."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))
