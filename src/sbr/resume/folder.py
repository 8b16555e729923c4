"""May a run continue what lies in its output folder?  Results of two settings in one file would belong to neither.

recipe.json     the recipe as used, defaults included
inputs.json     fingerprints of the weights and annotation files that were used; written first
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbr.config.section import Section
from sbr.errors import ConfigError, DataError
from sbr.files import read_file, replace_file
from sbr.resume.lock import LOCK

RECIPE = "recipe.json"
INPUTS = "inputs.json"

NO_MATTER = frozenset(
    {
        *("output_dir", "data.cache", "data.cache_dir"),
        *("engine.concurrency", "engine.retries", "engine.timeout", "engine.api_key_env"),
    }
)
"""Keys of recipes that touch no result: a continued run may change them."""

MOST_BYTES = 16 << 20
"""Of a recipe.json or inputs.json; real ones have some kilobytes."""

_BLOCK = 1 << 20
_BLOCKS = 1024
"""Files of up to 1 GiB are read whole, of larger ones so many blocks of 1 MiB, evenly spread."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a folder belongs to, and how messages speak of it.  Example: Work("an evaluation", "--out")."""

    name: str
    flag: str
    """What chooses the folder on the command line."""
    may_change: frozenset[str] = frozenset()
    """Keys of the recipe, beside `NO_MATTER`, that may differ from what the folder was started with."""


def check_folder(folder: Path, recipe: Section, inputs: Mapping[str, str] | None, work: Work) -> None:
    """Make sure that `folder` is new, empty, or was started with the same settings and inputs.  Changes nothing.

    `inputs` maps the name of every input file to its fingerprint; None compares the settings alone.  Raises ConfigError
    that names every key and file that differs, and for a folder that holds anything else: a data root, or the run of
    another command; DataError for a damaged recipe.json or inputs.json.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output folder {folder} is a file; choose another {work.flag}")
    if not (folder / RECIPE).exists():
        refuse_strange_files(folder, work)
        return
    saved = read_json(folder / RECIPE, f"choose another {work.flag}")
    foreign = sorted(saved.keys() - type(recipe).model_fields.keys())
    if foreign or not (folder / INPUTS).exists():  # inputs.json is written first, so without it this was not begun here
        sections = f" (it has {', '.join(foreign)})" if foreign else f" (there is no {INPUTS})"
        raise ConfigError(
            f"the {RECIPE} in {folder} is not of {work.name}{sections}: the folder belongs to another run and is left "
            f"as it is; choose another {work.flag}"
        )
    lines = differences(saved, recipe, work.may_change)
    if inputs is not None:
        lines += changed_inputs(read_json(folder / INPUTS, f"choose another {work.flag}"), inputs)
    if lines:
        raise ConfigError(
            f"{folder} holds {work.name} with other settings; it is left as it is:\n  "
            + "\n  ".join(lines)
            + f"\nchoose another {work.flag}, or repeat the settings of then to continue it"
        )


def refuse_strange_files(folder: Path, work: Work) -> None:
    """Raise ConfigError when `folder`, which has no recipe.json, holds more than a killed start leaves."""
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if strange := [name for name in names if name not in (LOCK, INPUTS) and not _is_draft(name)]:
        raise ConfigError(
            f"{folder} holds {', '.join(strange[:3])}{' and more' if len(strange) > 3 else ''} but no {RECIPE}: it is "
            f"not the folder of {work.name} and is left as it is; choose another {work.flag}"
        )


def start_folder(folder: Path, recipe: Section, inputs: Mapping[str, str]) -> None:
    """Write recipe.json and, in a folder that was not started before, inputs.json.  Ask `check_folder` first."""
    if not (folder / RECIPE).exists():
        replace_file(folder / INPUTS, (json.dumps(dict(inputs), indent=2) + "\n").encode())
    replace_file(folder / RECIPE, (recipe.model_dump_json(indent=2) + "\n").encode())


def differences(saved: Mapping[str, Any], recipe: Section, may_change: frozenset[str] = frozenset()) -> list[str]:
    """ "eval.seed: 0 then, 1 now" for every key whose value in `saved` is another than in `recipe`, apart from those of
    `may_change` and `NO_MATTER`."""
    then, now = flat(saved), flat(recipe.model_dump(mode="json"))
    return [
        f"{key}: {then.get(key)!r} then, {now.get(key)!r} now"
        for key in sorted(then.keys() | now.keys())
        if key not in NO_MATTER | may_change and then.get(key) != now.get(key)
    ]


def changed_inputs(then: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """ "input file base/model.safetensors has changed" for every name whose fingerprint differs, is new or is gone."""
    what = {
        name: "is new" if name not in then else "is gone" if name not in now else "has changed"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    }
    return [f"input file {name} {change}" for name, change in what.items()]


def fingerprints(files: Mapping[str, Path]) -> dict[str, str]:
    """Name -> fingerprint of every file, for inputs.json."""
    return {name: fingerprint(file) for name, file in files.items()}


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
    return sorted(file for pattern in ("*.safetensors", "*.bin", "*.json", "*.jinja") for file in folder.glob(pattern))


def read_json(file: Path, advice: str) -> dict[str, Any]:
    """The object in a small JSON file of ours.  Raises DataError, which ends with `advice`, when it is none."""
    try:
        values = json.loads(read_file(file, MOST_BYTES, advice))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}); {advice}") from None
    if not isinstance(values, dict):
        raise DataError(f"{file} is damaged (a JSON {type(values).__name__}, expected an object); {advice}")
    return values


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    >>> flat({"eval": {"seed": 0}})
    {'eval.seed': 0}
    """
    found: dict[str, Any] = {}
    open_sections: list[tuple[str, Mapping[str, Any]]] = [("", values)]
    while open_sections:
        prefix, section = open_sections.pop()
        for key, value in section.items():
            if isinstance(value, Mapping):
                open_sections.append((f"{prefix}{key}.", value))
            else:
                found[prefix + key] = value
    return found


def _is_draft(name: str) -> bool:
    """Of `sbr.files.replace_file`, left by a killed run."""
    return name.startswith(".") and name.endswith(".tmp")
