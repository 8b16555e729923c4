"""`sbr analyze`: what finished evaluations did, beyond their accuracy."""

from __future__ import annotations

import importlib
import sys

from sbr.errors import ConfigError

SUBVERBS: dict[str, tuple[str, str]] = {
    "attention": (
        "sbr.cli.analyze_attention",
        "where the models look while they write, and what it does to the answer",
    ),
    "consistency": (
        "sbr.cli.analyze_consistency",
        "does the reasoning entail the answer? by rule, likelihood and judge",
    ),
    "cases": ("sbr.cli.analyze_cases", "questions on which models differ, with tags, sorted by interest"),
    "curves": ("sbr.cli.analyze_curves", "training curves of one or several runs and seeds"),
}
"""Name -> module with run(arguments), and what it does."""


def run(arguments: list[str]) -> None:
    """Entry of `sbr analyze`: the first word is the sub-verb."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<13}{about}" for name, (_, about) in SUBVERBS.items())
        sys.stdout.write(
            f"usage: sbr analyze SUBVERB [arguments]\n\n{lines}\n\nsbr analyze SUBVERB --help explains one\n"
        )
        return
    name, *rest = arguments
    if name not in SUBVERBS:
        raise ConfigError(f"unknown sub-verb {name!r} of `sbr analyze`; one of: {', '.join(SUBVERBS)}")
    importlib.import_module(SUBVERBS[name][0]).run(rest)
