"""May a run continue what lies in its output folder?  Answers of two settings in one file would belong to neither.

recipe.json     the recipe as used, defaults included
inputs.json     fingerprints of the weights and annotation files that were used
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sbr.config.load import with_defaults
from sbr.config.section import Section
from sbr.errors import ConfigError
from sbr.files import replace_file

RECIPE = "recipe.json"
INPUTS = "inputs.json"

NO_MATTER = frozenset(
    {
        *("output_dir", "data.cache", "data.cache_dir"),
        *("engine.concurrency", "engine.retries", "engine.timeout", "engine.api_key_env"),
    }
)
"""Keys of recipes that touch no answer: a continued run may change them."""

_BLOCK = 1 << 20
_BLOCKS = 1024
"""Files of up to 1 GiB are read whole, of larger ones so many blocks of 1 MiB, evenly spread."""


def open_output_folder(
    folder: Path,
    recipe: Section,
    inputs: Mapping[str, str],
    journal: str,
    work: str,
    flag: str,
    may_change: frozenset[str] = frozenset(),
) -> None:
    """Create the folder, or make sure that it belongs to the same work.

    `inputs` maps the name of every input file to its fingerprint.  `journal` is the file of what was done so far,
    `work` ("an evaluation") and `flag` ("--out") are words of the messages.  Keys of the recipe in `may_change`,
    and those of `NO_MATTER`, may differ from what the folder was started with.  Raises ConfigError that names every
    other key that differs, and for a folder of another command, such as a training run; that is left as it is.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output folder {folder} is a file; choose another {flag}")
    folder.mkdir(parents=True, exist_ok=True)
    now = _flat(recipe.model_dump(mode="json"))
    started = (folder / RECIPE).exists() and (folder / INPUTS).exists()
    if not started and (folder / journal).exists():
        raise ConfigError(
            f"{folder} holds {journal} but not both {RECIPE} and {INPUTS}, so nobody knows what was measured; "
            f"choose another {flag}"
        )
    saved = _read(folder / RECIPE, flag) if (folder / RECIPE).exists() else {}
    foreign = sorted(saved.keys() - type(recipe).model_fields.keys())
    # inputs.json is written first, so a recipe without it was not begun here.
    if foreign or (saved and not started):
        sections = f" (it has {', '.join(foreign)})" if foreign else ""
        raise ConfigError(
            f"the {RECIPE} in {folder} is not of {work}{sections}: the folder belongs to another run and is left as it "
            f"is; choose another {flag}"
        )
    if started:
        then = _flat(with_defaults(type(recipe), saved))
        differences = [
            f"{key}: {then.get(key)!r} then, {now.get(key)!r} now"
            for key in sorted(then.keys() | now.keys())
            if key not in NO_MATTER | may_change and then.get(key) != now.get(key)
        ]
        differences += _changed_inputs(_read(folder / INPUTS, flag), inputs)
        if differences:
            raise ConfigError(
                f"{folder} holds {work} with other settings; it is left as it is:\n  "
                + "\n  ".join(differences)
                + f"\nchoose another {flag}, or repeat the settings of then to continue it"
            )
    else:
        replace_file(folder / INPUTS, (json.dumps(dict(inputs), indent=2) + "\n").encode())
    replace_file(folder / RECIPE, (recipe.model_dump_json(indent=2) + "\n").encode())


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


def _changed_inputs(then: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if before != after:
            what = "is new" if before is None else "is gone" if after is None else "has changed"
            yield f"input file {key} {what}"


def _read(file: Path, flag: str) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} is damaged ({error}); choose another {flag}") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"eval": {"seed": 0}} -> {"eval.seed": 0}"""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
