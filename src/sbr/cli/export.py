"""`sbr export`: the benchmark in the forms of other frameworks."""

from __future__ import annotations

import importlib
import sys

from sbr.errors import ConfigError

SUBVERBS: dict[str, tuple[str, str]] = {
    "lmms-eval": ("sbr.cli.export_lmms_eval", "a task package for lmms-eval --include_path"),
    "verl": ("sbr.cli.export_verl", "parquet files for verl, and the reward it calls"),
}
"""Framework -> module with run(arguments), and what it writes."""


def run(arguments: list[str]) -> None:
    """Entry of `sbr export`: the first word is the framework."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<13}{about}" for name, (_, about) in SUBVERBS.items())
        sys.stdout.write(
            f"usage: sbr export FRAMEWORK [arguments]\n\n{lines}\n\nsbr export FRAMEWORK --help explains one\n"
        )
        return
    name, *rest = arguments
    if name not in SUBVERBS:
        raise ConfigError(f"unknown framework {name!r} of `sbr export`; one of: {', '.join(SUBVERBS)}")
    importlib.import_module(SUBVERBS[name][0]).run(rest)
