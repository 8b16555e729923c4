"""Which media the questions of a data root show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbr.config.inputs import DataConfig
from sbr.data.rows.layout import DataRoot
from sbr.data.sources.select import SOURCES, load_questions, load_training
from sbr.errors import DataError
from sbr.types import FrameFolder, Sample, VideoFrame, VideoRange

TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Media:
    """What the questions show, each once, in the order of the questions."""

    videos: tuple[Path | VideoRange | FrameFolder, ...]
    images: tuple[Path | VideoFrame, ...]
    left_out: tuple[str, ...] = ()
    """Splits whose annotation files are not there."""


def splits_of(data: DataConfig) -> tuple[str, ...]:
    """Levels of the source, and "train" before them if one can train on it."""
    source = SOURCES[data.source]
    return (*([TRAIN] if source.load_training else ()), *source.levels)


def media_of_root(data: DataConfig, splits: Sequence[str] | None) -> Media:
    """The media of the chosen splits of `splits_of`; "train" is `data.train_file` and what else is there to train on.

    None takes every split that is there.  Raises DataError if `data.root` is not a data root, if the annotation file of
    a chosen split is not there, or none is; AnnotationError for bad rows.
    """
    samples: list[Sample] = []
    asked = splits_of(data) if splits is None else splits
    left_out: list[str] = []
    for split in asked:
        if split == TRAIN:
            names = _training_files(data)
            for name in names:
                samples += load_training(data.model_copy(update={"train_file": name, "limit": None}))
            left_out += [] if names else [split]
        elif (data.root / SOURCES[data.source].levels[split][0]).is_file():
            samples += load_questions(data, split, None)
        else:
            left_out.append(split)
    if left_out and (splits is not None or len(left_out) == len(asked)):
        folder = _annotations(data)
        there = sorted(file.name for file in folder.glob("*.json*"))
        raise DataError(
            f"{folder} has no annotation file of {', '.join(left_out)}; it has {', '.join(there) or 'none'}"
        )
    # dict.fromkeys: distinct, in order.  Files, ranges and folders cannot be compared, so they cannot be sorted.
    videos = dict.fromkeys(sample.video for sample in samples if sample.video is not None)
    images = dict.fromkeys(sample.image for sample in samples if sample.image is not None)
    return Media(tuple(videos), tuple(images), tuple(left_out))


def _training_files(data: DataConfig) -> list[str]:
    """All files of training questions but those of chats, and the file of the recipe."""
    folder, pattern = _annotations(data), SOURCES[data.source].training_files
    names = {data.train_file, *(file.name for file in folder.glob(pattern))}
    return sorted(name for name in names if "cot" not in name and (folder / name).is_file())


def _annotations(data: DataConfig) -> Path:
    folder = SOURCES[data.source].folder
    return DataRoot(data.root).path / folder if folder else data.root
