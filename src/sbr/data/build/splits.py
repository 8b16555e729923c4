"""Which split a video belongs to, and the rows of the splits.

    L2      participants of their own: other people, other kitchens
    L1      other videos of the participants that training has: the same kitchens
    train   everything else

Every choice is a hash of (seed, name): it depends neither on the order of the rows nor on what else is in the files, so
a participant gets the same side in two builds from two files.  No video is in two splits.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sbr.data.build.questions import BuiltQuestion
from sbr.data.rows.annotations import EgoPlanRow, TrainingRow, ValidationRow
from sbr.data.rows.options import draw_options

TRAIN, L1, L2 = "train", "L1", "L2"
SPLITS = (TRAIN, L1, L2)


@dataclass(frozen=True, slots=True)
class Medium:
    """A clip or a picture to be cut out of a video.

    Example: Medium("videos/EpicKitchens/P01_13_36_760.mp4", "P01_13", 36, 760, 0.61, 12.67).  A picture has
    first_frame = last_frame.  Frames as annotated; -1 and 0 both mean the first frame of an Ego4D video.
    """

    file: str
    """Below the data root."""
    video_id: str
    first_frame: int
    last_frame: int
    first_seconds: float | None
    last_seconds: float | None


def split_videos(participants: Mapping[str, str], l1: float, l2: float, seed: int) -> dict[str, str]:
    """Video -> split.  `l1` and `l2` are shares of the videos and of the participants, 0 to 1.

    A participant whose videos would all be in L1 keeps one for training, since L1 asks in kitchens training has seen.
    """
    of_participant: defaultdict[str, list[str]] = defaultdict(list)
    for video, participant in participants.items():
        of_participant[participant].append(video)
    splits: dict[str, str] = {}
    for participant, videos in of_participant.items():
        if _uniform(seed, "participant", participant) < l2:
            splits.update(dict.fromkeys(videos, L2))
            continue
        last = max(videos, key=lambda video: (_uniform(seed, "video", video), video))
        for video in videos:
            splits[video] = L1 if video != last and _uniform(seed, "video", video) < l1 else TRAIN
    return splits


def rows_of(questions: Sequence[BuiltQuestion], splits: Mapping[str, str], source: str, seed: int) -> dict[str, list]:
    """Split -> its rows, in a random order that is the same every time, so that the first n are a fair sample."""
    rows: dict[str, list[EgoPlanRow]] = {split: [] for split in SPLITS}
    for question in sorted(questions, key=lambda q: (_uniform(seed, "order", q.sample_id), q.sample_id)):
        split = splits[question.video_id]
        rows[split].append(_row(question, source, seed, training=split == TRAIN))
    return rows


def media_of_question(question: BuiltQuestion, source: str) -> list[Medium]:
    """Its picture, and its clip if it has one."""
    frame, time = question.current_frame, question.current_seconds
    media = [Medium(f"images/{source}/{_image(question)}", question.video_id, frame, frame, time, time)]
    if question.progress:
        name = f"videos/{source}/{_clip(question)}"
        media.append(Medium(name, question.video_id, question.first_frame, frame, question.first_seconds, time))
    return media


def _row(question: BuiltQuestion, source: str, seed: int, training: bool) -> EgoPlanRow:
    common = {
        "sample_id": question.sample_id,
        "video_source": source,
        "video_id": question.video_id,
        "video_basename": _clip(question) if question.progress else None,
        "current_observation_basename": _image(question),
        "current_observation_frame": question.current_frame,
        "task_goal": question.goal,
        "question": question.question,
        "answer": question.answer,
        "task_progress_metadata": question.progress,
    }
    if training:
        return TrainingRow(**common, negative_answers=question.negatives)
    options, gold = draw_options(seed, question.sample_id, question.answer, question.negatives)
    a, b, c, d = options
    return ValidationRow(**common, choice_a=a, choice_b=b, choice_c=c, choice_d=d, golden_choice_idx=gold)


def _clip(question: BuiltQuestion) -> str:
    return f"{question.video_id}_{question.first_frame}_{question.current_frame}.mp4"


def _image(question: BuiltQuestion) -> str:
    return f"{question.video_id}_{question.current_frame}.png"


def _uniform(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that is the same on every machine."""
    digest = hashlib.sha256("\0".join((str(seed), purpose, name)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
