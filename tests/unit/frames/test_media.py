"""Which media `sbr data cache` reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbr.config.inputs import DataConfig
from sbr.errors import DataError
from sbr.frames.media import media_of_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with L1 alone, of one question without a video."""
    for folder in ("annotations", "images", "videos"):
        (tmp_path / folder).mkdir()
    row = {
        **{"sample_id": 1, "video_source": "E", "video_id": "v", "current_observation_basename": "a.png"},
        **{"current_observation_frame": 5, "task_goal": "g", "question": "q?", "answer": "x"},
        **{"task_progress_metadata": [], "golden_choice_idx": "A", "video_basename": None},
        **{"choice_a": "x", "choice_b": "y", "choice_c": "z", "choice_d": "w"},
    }
    (tmp_path / "annotations" / "validation_L1.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def test_splits_that_are_not_there_are_said(root: Path) -> None:
    media = media_of_root(DataConfig(root=root), None)
    assert [file.name for file in media.images if isinstance(file, Path)] == ["a.png"] and media.videos == ()
    assert media.left_out == ("train", "L2", "L3")
    assert media_of_root(DataConfig(root=root), ["L1"]).left_out == ()


@pytest.mark.parametrize("splits", [["L1", "L2", "L3"], ["L3", "L2"]])
def test_a_split_that_is_named_must_be_there(root: Path, splits: list[str]) -> None:
    with pytest.raises(DataError, match=r"no annotation file of (L2, L3|L3, L2); it has validation_L1.jsonl"):
        media_of_root(DataConfig(root=root), splits)


def test_nothing_at_all(root: Path) -> None:
    (root / "annotations" / "validation_L1.jsonl").unlink()
    with pytest.raises(DataError, match="no annotation file of train, L1, L2, L3; it has none"):
        media_of_root(DataConfig(root=root), None)
