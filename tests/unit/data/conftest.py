"""Rows of SEED-Bench-R1 as they lie on disk (field names and values of the released examples)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_rows import Row

MakeRow = Callable[..., dict[str, Any]]
COMMON = {
    "video_source": "EpicKitchens",
    "video_id": "P01_13",
    "video_basename": "P01_13_36_760.mp4",
    "current_observation_basename": "P01_13_760.png",
    "current_observation_frame": 760,
    "task_goal": "store cereal",
    "question": "what action should I take next in order to store cereal?",
    "task_progress_metadata": [
        {"narration_text": "take cereal bag", "start_frame": 36, "stop_frame": 120},
        {"narration_text": "open cupboard", "start_frame": 689, "stop_frame": 760},
    ],
}


@pytest.fixture
def training_row() -> MakeRow:
    def make(sample_id: object = "39", **changes: Any) -> dict[str, Any]:
        own = {"answer": "grab onion", "negative_answers": ["open drawer", "grab knife", "close drawer", "slice onion"]}
        return COMMON | own | {"sample_id": sample_id} | changes

    return make


@pytest.fixture
def validation_row() -> MakeRow:
    def make(sample_id: object = "115", **changes: Any) -> dict[str, Any]:
        own = {
            "choice_a": "put cereal box into cupboard",
            "choice_b": "take cereal bag",
            "choice_c": "open cupboard",
            "choice_d": "put cereal bag into cereal box",
            "golden_choice_idx": "C",
            "answer": "open cupboard",
        }
        return COMMON | own | {"sample_id": sample_id} | changes

    return make


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """The three folders of a data root, empty."""
    root = tmp_path / "root"
    for name in ("annotations", "videos", "images"):
        (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def write_root(tmp_path: Path) -> Callable[..., Path]:
    """write_root(rows, media=b"x") -> data root with these rows; every medium they name holds `media`."""

    def write(rows: dict[str, list[Row]], media: bytes = b"x") -> Path:
        root = tmp_path / "root"
        (root / "annotations").mkdir(parents=True)
        named = set()
        for name, lines in rows.items():
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (root / "annotations" / name).write_text(text)
            for line in lines:
                for kind, key in (("videos", "video_basename"), ("images", "current_observation_basename")):
                    if line.get(key):
                        named.add(root / kind / line["video_source"] / line[key])
        for file in named:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(media)
        return root

    return write
