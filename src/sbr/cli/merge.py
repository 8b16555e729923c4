"""`sbr merge ADAPTER OUT`: an adapter and its base as one ordinary model folder."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tyro

from sbr.config.section import DType


@dataclass(frozen=True)
class Args:
    """Merge an adapter (the final/ of a run with [lora]) into its base and write a folder for transformers and vLLM.

    Weights are added in float32.  In 16 bits a weight cannot hold a change below about 1/512 of itself, so part of what
    a short run has learned is lost there; sbr eval takes the adapter folder as it is.

    Examples:
      sbr merge runs/lora/final runs/lora/merged
      sbr merge runs/lora/final runs/lora/merged16 --dtype bfloat16
    """

    adapter: tyro.conf.Positional[Path]
    """Folder that holds adapter_config.json."""
    out: tyro.conf.Positional[Path]
    """Folder to write; it must not exist."""
    dtype: DType = "float32"
    """Of the weights that are written."""


def run(arguments: list[str]) -> None:
    """Parse the words after `sbr merge` and write the folder."""
    args = tyro.cli(Args, args=arguments, prog="sbr merge", description=inspect.getdoc(Args))

    from sbr.cli.console import Terminal
    from sbr.model.paths import resolve_model_path

    resolve_model_path(str(args.adapter))  # a typo is refused before torch is imported

    from sbr.model.merge import merge

    merge(str(args.adapter), args.out, args.dtype)
    Terminal().print(f"{args.out}: {args.adapter} merged into its base, {args.dtype}", soft_wrap=True)
