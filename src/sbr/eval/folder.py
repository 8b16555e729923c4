"""The output folder of an evaluation: what lies in it, and whether a run may continue it.

recipe.json     the recipe as used, defaults included
inputs.json     fingerprints of the weights and annotation files that were used
records.jsonl   one line an answer (eval.records)
summary.json    the figures, written when all questions are answered (eval.summary)
table.md        the same as tables (report.tables), written by the command line
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sbr.config import EvalRecipe, with_defaults
from sbr.errors import ConfigError
from sbr.eval.records import RECORDS
from sbr.eval.summary import write_atomically

RECIPE = "recipe.json"
INPUTS = "inputs.json"
SUMMARY = "summary.json"
TABLE = "table.md"

_NO_MATTER = {"output_dir", "engine.concurrency", "engine.retries", "engine.timeout", "engine.api_key_env"}
"""Keys of a recipe that do not touch the answers: a continued run may change them."""

_BLOCK = 1 << 20
_BLOCKS = 1024
"""Files of up to 1 GiB are read whole, of larger ones so many blocks of 1 MiB, evenly spread."""


def open_folder(recipe: EvalRecipe, inputs: Mapping[str, str]) -> None:
    """Create the folder, or make sure that it belongs to the same evaluation.

    `inputs` maps the name of every input file to its fingerprint.  Raises ConfigError that names every key that differs
    from what the folder was started with: answers of two settings in one file would be a number of neither.
    """
    folder = recipe.output_dir
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output folder {folder} is a file; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    now = {RECIPE: _flat(recipe.model_dump(mode="json")), INPUTS: dict(inputs)}
    started = (folder / RECIPE).exists() and (folder / INPUTS).exists()
    if not started and (folder / RECORDS).exists():
        raise ConfigError(
            f"{folder} holds {RECORDS} but not both {RECIPE} and {INPUTS}, so nobody knows what was measured; "
            "choose another --out"
        )
    if not started:
        write_atomically(folder / INPUTS, json.dumps(now[INPUTS], indent=2) + "\n")
        write_atomically(folder / RECIPE, recipe.model_dump_json(indent=2) + "\n")
        return
    differences = [
        line
        for name, then in (
            (RECIPE, _flat(with_defaults(type(recipe), _read(folder / RECIPE)))),
            (INPUTS, _read(folder / INPUTS)),
        )
        for line in _differences(then, now[name], name)
    ]
    if differences:
        raise ConfigError(
            f"{folder} holds an evaluation with other settings; it is left as it is:\n  "
            + "\n  ".join(differences)
            + "\nchoose another --out, or repeat the settings of then to continue it"
        )


def fingerprint(file: Path) -> str:
    """SHA-256 over a file's size and content, of files over 1 GiB over 1,024 evenly spread blocks of 1 MiB."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    blocks = -(-size // _BLOCK)
    step = max(1, blocks // _BLOCKS)
    with file.open("rb") as stream:
        for block in range(0, blocks, step):
            stream.seek(block * _BLOCK)
            digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide its answers, in order of their names."""
    return sorted(file for pattern in ("*.safetensors", "*.json", "*.jinja") for file in folder.glob(pattern))


def _differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> Iterator[str]:
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if before == after or (name == RECIPE and key in _NO_MATTER):
            continue
        if name == INPUTS:
            what = "is new" if before is None else "is gone" if after is None else "has changed"
            yield f"input file {key} {what}"
        else:
            yield f"{key}: {before!r} then, {after!r} now"


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} is damaged ({error}); choose another --out") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"eval": {"seed": 0}} -> {"eval.seed": 0}"""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
