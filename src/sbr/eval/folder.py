"""The output folder of an evaluation: what lies in it, and whether a run may continue it (`sbr.resume.folder`).

recipe.json     the recipe as used, defaults included
inputs.json     fingerprints of the weights and annotation files that were used
records.jsonl   one line an answer (eval.records)
summary.json    the figures, written when all questions are answered (eval.summary)
table.md        the same as tables (report.tables), written by the command line
"""

from __future__ import annotations

from collections.abc import Mapping

from sbr.config.recipes import EvalRecipe
from sbr.eval.records import RECORDS, SUMMARY
from sbr.resume.folder import open_output_folder

__all__ = ["RECORDS", "SUMMARY", "TABLE", "open_folder"]

TABLE = "table.md"


def open_folder(recipe: EvalRecipe, inputs: Mapping[str, str]) -> None:
    """Create the folder, or make sure that it belongs to the same evaluation.

    `inputs` maps the name of every input file to its fingerprint.  Raises ConfigError that names every key that differs
    from what the folder was started with.
    """
    open_output_folder(recipe.output_dir, recipe, inputs, RECORDS, "an evaluation", "--out")
