"""What a model folder has to be before transformers reads it: no code, weights as safetensors, sizes that can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sbr.errors import CheckpointError

CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json", "processor_config.json")
CONFIGS += ("preprocessor_config.json", "video_preprocessor_config.json")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

MOST_CONFIG_BYTES = 16 << 20
MOST_HEADER_BYTES = 100 << 20
"""The most that safetensors itself reads."""

LIMITS = {
    "num_hidden_layers": 1_000,
    "depth": 1_000,
    "hidden_size": 1_000_000,
    "embed_dim": 1_000_000,
    "out_hidden_size": 1_000_000,
    "intermediate_size": 10_000_000,
    "vocab_size": 10_000_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "num_heads": 100_000,
    "head_dim": 100_000,
    "patch_size": 1_000,
    "spatial_merge_size": 100,
    "temporal_patch_size": 100,
    "num_position_embeddings": 10_000_000,
}
"""Largest values that are believed, of text and vision; the smallest is 1."""


def refuse_code(path: str, folder: Path) -> None:
    """Raises CheckpointError, which names the model by `path`, when a config names Python code or is damaged.

    transformers would ask on a terminal whether to run it, and is told to run none (`trust_remote_code=False`).
    """
    for name in CONFIGS:
        if "auto_map" in (_read(path, folder / name) if (folder / name).is_file() else {}):
            raise CheckpointError(
                f"{path}: {name} names Python code to run (auto_map); this version runs none: remove auto_map and take "
                "the classes of transformers"
            )


def check_model_folder(path: str, folder: Path) -> None:
    """Raises CheckpointError, which names the model by `path`, before any memory is taken for its weights."""
    config = check_config(path, folder)
    shapes = [shape for file in _weight_files(path, folder) for shape in _shapes(path, file)]
    held, described = sum(map(_product, shapes)), _described(config)
    if described > held:
        raise CheckpointError(
            f"{path}: config.json describes a model of at least {described:,} weights, but the files hold {held:,}; "
            "copy the checkpoint again"
        )


def check_config(path: str, folder: Path) -> dict[str, Any]:
    """What config.json says; raises CheckpointError when its sizes cannot be, or when a config names Python code."""
    refuse_code(path, folder)
    config = _read(path, folder / "config.json")
    for part in (config, config.get("text_config"), config.get("vision_config")):
        _check_sizes(path, part if isinstance(part, dict) else {})
    return config


def check_vocabulary(path: str, folder: Path, tokens: int) -> None:
    """Raises CheckpointError when a tokenizer of so many tokens has more than the model has rows."""
    if not (folder / "config.json").is_file():
        return  # an adapter's folder; its base is checked
    config = _read(path, folder / "config.json")
    rows = (config.get("text_config") or config).get("vocab_size", tokens)
    if isinstance(rows, int) and tokens > rows:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokens:,} tokens, but the model only {rows:,} rows (vocab_size in "
            "config.json); copy both from the same checkpoint"
        )


def _read(path: str, file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"it is larger than {MOST_CONFIG_BYTES >> 20} MiB")
        values = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {file.name} cannot be loaded: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: {file.name} cannot be loaded: it is no JSON object")
    return values


def _check_sizes(path: str, config: dict[str, Any]) -> None:
    for name, most in LIMITS.items():
        value = config.get(name)
        if value is not None and not (isinstance(value, int) and 1 <= value <= most):
            raise CheckpointError(f"{path}: config.json says {name} {value!r}, expected 1 to {most:,}")
    vision = "embed_dim" if "embed_dim" in config else "hidden_size"
    for heads, width in (("num_attention_heads", "hidden_size"), ("num_heads", vision)):
        if heads in config and width in config and config.get("head_dim") is None and config[width] % config[heads]:
            raise CheckpointError(
                f"{path}: config.json says {width} {config[width]} with {heads} {config[heads]}, no multiple of it"
            )
    queries, keys = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if queries and keys and queries % keys:
        raise CheckpointError(f"{path}: config.json says {queries} attention heads for {keys} key heads, no multiple")


def _described(config: dict[str, Any]) -> int:
    """Weights of the large matrices of text that a config asks for; a whole model has more."""
    text = config.get("text_config") or config
    width, layers = text.get("hidden_size") or 0, text.get("num_hidden_layers") or 0
    return width * ((text.get("vocab_size") or 0) + 3 * layers * (text.get("intermediate_size") or 0))


def _weight_files(path: str, folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        found = f"only {pickles[0]}, a pickle, which can run code and is not opened" if pickles else "none"
        raise CheckpointError(
            f"{path}: the weights cannot be loaded: there is no {WEIGHTS} and no {INDEX}, {found}; convert or download "
            "the checkpoint as safetensors"
        )
    parts = _read(path, folder / INDEX).get("weight_map")
    names = set(parts.values()) if isinstance(parts, dict) and all(isinstance(v, str) for v in parts.values()) else None
    if not names:
        raise CheckpointError(f"{path}: {INDEX} has no weight_map from names to files; copy the checkpoint again")
    for name in sorted(names):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{path}: {INDEX} names {name!r}, which is no .safetensors file of this folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{path}: {INDEX} names {name}, which is missing; copy or download it again")
    return [folder / name for name in sorted(names)]


def _shapes(path: str, file: Path) -> list[list[int]]:
    """Of all tensors, from the header: 8 bytes with its length, then JSON."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MOST_HEADER_BYTES:
                raise ValueError(f"its header is said to have {length:,} bytes")
            header = json.loads(stream.read(length))
        return [value["shape"] for name, value in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: the weights cannot be loaded: {file.name} is damaged ({error}); copy or download it again"
        ) from error


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
