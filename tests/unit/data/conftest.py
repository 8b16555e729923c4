"""Data roots on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_rows import Row


@pytest.fixture
def write_root(tmp_path: Path) -> Callable[..., Path]:
    """write_root(rows, media=b"x") -> data root with these rows; every medium they name holds `media`."""

    def write(rows: dict[str, list[Row]], media: bytes = b"x") -> Path:
        root = tmp_path / "root"
        (root / "annotations").mkdir(parents=True)
        for name, lines in rows.items():
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (root / "annotations" / name).write_text(text)
            for line in lines:
                for kind, key in (("videos", "video_basename"), ("images", "current_observation_basename")):
                    if line.get(key):
                        file = root / kind / line["video_source"] / line[key]
                        file.parent.mkdir(parents=True, exist_ok=True)
                        file.write_bytes(media)
        return root

    return write
