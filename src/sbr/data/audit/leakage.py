"""What the questions of a level share with the training rows: uncut videos, media, kitchens, whole questions.

L1 is asked in the kitchens of the training set; L2 and L3 come from people and places that training never saw
(arXiv 2503.24376, section 3).  A question that is also a training row is a leak at every level.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sbr.data.rows.annotations import EgoPlanRow
from sbr.data.rows.options import reads_as

SEEN_KITCHENS = ("L1",)
"""Levels that may share videos and kitchens with the training rows."""

_EPIC_VIDEO = re.compile(r"(P\d{2})_\d+")
"""EPIC-KITCHENS names its videos <participant>_<number>; a participant has one kitchen."""

QuestionKey: TypeAlias = tuple[str, str, int, str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """What the good rows of one annotation file are about.  `level` is None for training and CoT rows."""

    file: Path
    level: str | None
    videos: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(video_source, video_id) -> rows.  CoT rows name none."""
    questions: dict[QuestionKey, int] = field(default_factory=dict)
    """Question -> the first line that asks it."""
    media: set[Path] = field(default_factory=set)

    def kitchens(self) -> set[str]:
        """EPIC-KITCHENS participants."""
        names = (_EPIC_VIDEO.fullmatch(video) for source, video in self.videos if source == "EpicKitchens")
        return {name[1] for name in names if name}


@dataclass(frozen=True, slots=True)
class Shared:
    """What one level shares with one file of training or CoT rows."""

    level: str
    level_file: Path
    training_file: Path
    allowed: bool
    """Whether videos, media and kitchens may be shared (L1)."""
    videos: tuple[str, ...]
    """<video_source>/<video_id>"""
    rows: int
    """Questions of the level about these videos."""
    media: tuple[Path, ...]
    kitchens: tuple[str, ...]
    kitchens_of_level: int
    questions: tuple[tuple[int, int], ...]
    """(line of the level's file, line of the training file) of what is the same question."""

    @property
    def is_leak(self) -> bool:
        return bool(self.questions) or (not self.allowed and bool(self.videos or self.media or self.kitchens))


def question_key(row: EgoPlanRow) -> QuestionKey:
    """Equal for two rows that ask for the same action at the same moment, whatever their ids and wrong options."""
    moment = row.current_observation_frame
    return row.video_source, row.video_id, moment, reads_as(row.task_goal), reads_as(row.answer)


def find_shared(contents: Sequence[Content]) -> Iterator[Shared]:
    """Every level against every file of training or CoT rows, also where they share nothing."""
    for level in contents:
        for training in contents:
            if level.level is None or training.level is not None:
                continue
            videos = sorted(level.videos.keys() & training.videos.keys())
            kitchens = level.kitchens()
            questions = sorted(
                (line, training.questions[key]) for key, line in level.questions.items() if key in training.questions
            )
            yield Shared(
                level=level.level,
                level_file=level.file,
                training_file=training.file,
                allowed=level.level in SEEN_KITCHENS,
                videos=tuple("/".join(video) for video in videos),
                rows=sum(level.videos[video] for video in videos),
                media=tuple(sorted(level.media & training.media)),
                kitchens=tuple(sorted(kitchens & training.kitchens())),
                kitchens_of_level=len(kitchens),
                questions=tuple(questions),
            )
