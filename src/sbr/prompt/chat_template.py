"""Chat templates of checkpoints: programs (jinja) of somebody else, run in a sandbox and, before that, with a limit.

transformers' sandbox keeps a template from files and code, but not from looping for ever.  So a template is tried once
in a process of its own, on a chat of the shape that is asked, with limits of time, memory and length.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from sbr.errors import CheckpointError

SECONDS = 5
"""Of computing time that a trial may take; the released templates take milliseconds."""
PATIENCE = 120
"""Seconds until a trial is ended whatever it did: a busy machine has to start a process in it."""
MEMORY = 1 << 30
LENGTH = 100_000
"""Characters that the trial's chat, which has 100, may become."""

CHAT = [
    {"role": "user", "content": [{"type": "video"}, {"type": "image"}, {"type": "text", "text": "A " * 50}]},
    {"role": "assistant", "content": [{"type": "text", "text": "B"}]},
]

_TRIAL = """
import json, resource, sys
seconds, memory, length = map(int, sys.argv[1:])
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
class Generation(Extension):  # a tag of transformers that renders what stands in it
    tags = {"generation"}
    def parse(self, parser):
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)
def refuse(message):
    raise ValueError(message)
given = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
)
environment.filters["tojson"] = lambda value, **_: json.dumps(value)
environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: form}
try:
    template = environment.from_string(given["template"])
    size = 0
    for part in template.generate(messages=given["chat"], add_generation_prompt=True, **given["special"]):
        size += len(part)
        if size > length:
            sys.exit(f"it writes more than {length:,} characters for a chat of 100")
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}"[:500])
"""


def check_template(template: str, special: dict[str, str], where: str) -> None:
    """Raises CheckpointError when `template` fails or does not end on a small chat; `special` are named tokens."""
    if problem := _problem(template, json.dumps(special, sort_keys=True)):
        raise CheckpointError(f"{where}: the chat template cannot be used: {problem}; copy it from the base model")


@lru_cache(maxsize=32)
def _problem(template: str, special: str) -> str | None:
    given = json.dumps({"template": template, "chat": CHAT, "special": json.loads(special)})
    limits = [str(limit) for limit in (SECONDS, MEMORY, LENGTH)]
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _TRIAL, *limits], input=given, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"it does not end within {PATIENCE} seconds"
    if ended.returncode < 0:
        return f"it does not end within {SECONDS} seconds of computing"
    return (ended.stderr.strip().splitlines() or ["it fails"])[-1] if ended.returncode else None


def render(processor: Any, messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
    """The chat as text.  Raises CheckpointError when the template does not take it."""
    try:
        return processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"the chat template of the checkpoint does not take this chat: {error}; copy it from the base model"
        ) from error
