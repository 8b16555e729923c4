"""What hostile cases are made of: a tiny data root, a model and finished runs, built once, and copies of them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbr.cli.main import run

MEDIA = frozenset({".mp4", ".png", ".safetensors", ".pt", ".bin"})
"""Files that copies share; a case that wants another one writes a new file in its place (`Place.write`)."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "grpo": {
        "rollout": {"group_size": 2, "max_new_tokens": 3},
        "train": {"prompts_per_step": 2, "max_steps": 2, "save_every": 1, "learning_rate": 1e-4},
        "log": {"completions_every": 1},
    },
    "sft": {"train": {"prompts_per_step": 2, "max_steps": 2, "save_every": 1}},
    "eval": {"eval": {"max_new_tokens": 3}},
    "distill": {"distill": {"samples": 2, "max_new_tokens": 3}},
}
"""What each kind of recipe has beside the model, the data and the frames."""


@dataclass(frozen=True)
class House:
    """Folders that no case writes into: data, model, a finished eval, grpo and distill, and an evaluation with its
    attention.  Made when asked for."""

    path: Path
    tiny_model: Path

    def folder(self, name: str) -> Path:
        folder = self.path / name
        if not folder.exists():
            with chdir(self.path):
                self._make(name)
        return folder

    def _make(self, name: str) -> None:
        if name == "model":
            shutil.copytree(self.tiny_model, name)
            return
        if name == "attention":
            shutil.copytree(self.folder("eval"), name)
        if name == "analysed":  # the consistency folder of an evaluation
            evaluated = shutil.copytree(self.folder("eval"), "analysed_eval")
            assert run(["analyze", "consistency", evaluated]) == 0
            Path(evaluated, "consistency").rename(name)
            return
        argv = ["mini", "build", "data", "--train", "4", "--val", "1", "--workers", "1"]
        if name == "attention":
            argv = ["analyze", "attention", name, "--no-effects"]
        elif name != "data":
            argv = [name, str(Place(self.path, self).recipe(name, output_dir=name))]
        status = run(argv)
        assert status == 0, f"sbr {' '.join(argv)} ended with {status}"


@dataclass(frozen=True)
class Place:
    """The folder of one case, in which it runs; paths in what it writes are relative to it."""

    path: Path
    house: House

    def copy(self, name: str, to: str | None = None) -> Path:
        """A copy of one of the house's folders, under its own name or `to`; made once."""
        source, target = self.house.folder(name), self.path / (to or name)
        if not target.exists():
            shutil.copytree(source, target, copy_function=_copy)
        return target

    def recipe(self, kind: str, output_dir: str = "out", **values: Any) -> Path:
        """A recipe that would run, with `values` ("train.seed": 3) in it.  Copies the data and the model if needed."""
        wanted: dict[str, Any] = {
            "model.path": "model",
            "model.dtype": "float32",
            "data.root": "data",
            "frames.max_frames": 4,
            "frames.height": 56,
            "frames.width": 56,
            **{f"{section}.{key}": v for section, keys in RECIPES[kind].items() for key, v in keys.items()},
            **values,
        }
        for key, folder in (("data.root", "data"), ("model.path", "model")):
            if wanted[key] == folder:
                self.copy(folder)
        return self.write(f"{kind}.toml", toml({"output_dir": output_dir, **wanted}))

    def write(self, name: str, content: str | bytes) -> Path:
        """A new file, also in place of one that copies share."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def edit(self, name: str, before: str, after: str) -> Path:
        """Replace words that must be there."""
        text = (self.path / name).read_text("utf-8")
        assert before in text, f"{name} holds no {before!r}"
        return self.write(name, text.replace(before, after))

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / name).read_text("utf-8").splitlines()]

    def write_lines(self, name: str, lines: list[dict[str, Any]]) -> Path:
        return self.write(name, "".join(json.dumps(line) + "\n" for line in lines))

    def link(self, name: str, to: str) -> Path:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).symlink_to(to)
        return self.path / name

    def pipe(self, name: str) -> Path:
        os.mkfifo(self.path / name)
        return self.path / name


def toml(values: Mapping[str, Any]) -> str:
    """Dotted keys and plain values as TOML."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in values.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return json.dumps(value)


def tree(folder: Path) -> dict[str, str]:
    """Every file, folder, link and pipe below `folder`, with its size and content."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return oct(stat.S_IFMT(found.st_mode))
    small = found.st_size < 1 << 26
    return f"{found.st_size} {hashlib.sha256(path.read_bytes()).hexdigest() if small else 'large'}"


def _copy(source: str, target: str) -> None:
    if Path(source).suffix in MEDIA:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
