"""What the folder of a distillation belongs to.  Imports nothing heavy."""

from __future__ import annotations

from sbr.resume.folder import Work

FILTERS = ("rule", "consistent", "min_words", "max_words", "distinct", "keep", "reasoning")
WORK = Work(
    "a distillation",
    "--output_dir",
    may_change=frozenset({f"distill.{name}" for name in FILTERS} | {"data.limit", "engine.url"}),
)
"""What may differ when a folder is continued changes no answer, only which are asked for and kept."""
