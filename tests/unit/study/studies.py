"""Study files for tests, with recipes of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECIPES = {run: f"recipes/mini/{run}.toml" for run in ("distill", "sft", "grpo", "eval")}


def stage(run: str, **keys: Any) -> dict[str, Any]:
    return {"run": run, "recipe": RECIPES[run], **keys}


def write(folder: Path, stages: dict[str, Any], arms: dict[str, str], **keys: Any) -> Path:
    """study.toml in `folder` with one base and seeds 0 and 1, unless `keys` say otherwise."""
    values = {
        "output_dir": str(folder / "out"),
        "seeds": [0, 1],
        "bases": {"mini": "sbr:mini"},
        "stages": stages,
        "arms": arms,
        "eval": {"recipe": RECIPES["eval"]},
        **keys,
    }
    file = folder / "study.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()), "utf-8")
    return file


def toml(value: Any) -> str:
    """As TOML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


TEACHERS = {
    "self": stage("distill", seeds="shared"),
    "teacher": stage("grpo", seeds="shared"),
    "strong": stage("distill", seeds="shared", model="teacher"),
    "sft": stage("sft", rows="self"),
    "sft_strong": stage("sft", rows="strong"),
    "sft_grpo": stage("grpo", model="sft"),
}
ARMS = {"base": "base", "SFT": "sft", "SFT, strong": "sft_strong", "SFT, then GRPO": "sft_grpo", "teacher": "teacher"}
