"""What a source of questions is: which levels it has, who reads them, and where its files come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sbr.types import Sample

EPIC_LICENCE = "Epic-Kitchens: CC BY-NC 4.0, not for commercial use, https://creativecommons.org/licenses/by-nc/4.0/"
EGO4D_LICENCE = "Ego4D: its own licence agreement, to be signed, https://ego4ddataset.com/ego4d-license/"


@dataclass(frozen=True, slots=True)
class HubSource:
    """One benchmark on the Hugging Face hub."""

    repository: str
    annotations: Mapping[str, str]
    """Level, "train", or "cot" (chats with responses, for SFT), -> its file."""
    licences: tuple[str, ...]
    media: str = ""
    """Where else the media come from; empty: `sbr data download` fetches them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSource:
    """How one source is read.  A new one is a file with such an object and a line in select.py."""

    levels: Mapping[str, tuple[str, ...]]
    """Level -> the files below the data root, other than media, that decide its questions; the annotations first."""
    load_level: Callable[[Path, str, int | None], list[Sample]]
    """(root, level, limit) -> questions."""
    load_subtitled: Callable[[Path, str, int | None], list[Sample]] | None = None
    """As `load_level`, with subtitles; None for a source that has none."""
    load_training: Callable[[Path, str, int, int | None], list[Sample]] | None = None
    """(root, train_file, seed, limit) -> questions; None for a source that is for evaluation only."""
    training_files: str = ""
    """Pattern of the names of files of training questions."""
    folder: str = ""
    """Where annotation files lie, below the data root."""
    hub: HubSource | str
    """Where to download it, or a sentence that says why it is not on the hub and where it is instead."""
