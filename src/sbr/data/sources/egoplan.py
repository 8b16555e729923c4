"""EgoPlan-Bench (arXiv 2312.06722) and EgoPlan-Bench2 (arXiv 2412.04447) as released: questions on uncut videos.

    <root>/EgoPlan_validation.json   L1: rows of EpicKitchens, L2: rows of Ego4D
    <root>/EgoPlan_IT.json           training
    <root>/EgoPlan-Bench2.json       L3
    <root>/EPIC_100_video_info.csv   frame rates of Epic-Kitchens, from epic-kitchens-100-annotations
    <root>/EPIC-KITCHENS/P01/rgb_frames/P01_13/frame_0000000760.jpg
    <root>/Ego4D/v1_288p/<video_id>.mp4

SEED-Bench-R1 is made of these questions (its Table 1) with the clips cut out.  Here the clip is the range of frames
from the start of the task (`task_start_frame`, or else the first step of the progress) to the current observation, both
included, and the current observation is its last frame.  Frame numbers are taken as they are, as in the official code:
Epic-Kitchens' pictures count from 1, frames of Ego4D's videos from 0.  The -1 that Ego4D gives to what began before the
video means its first frame.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from sbr.data.rows.csv_rows import csv_rows
from sbr.data.rows.fields import RowFields, path_fault
from sbr.data.rows.json_array import read_array, refuse_repeats, require_array_file
from sbr.data.rows.jsonl import shown
from sbr.data.rows.options import NEGATIVES, distinct_negatives, draw_options
from sbr.data.sources.seed_bench_r1 import DAILY_LIFE
from sbr.data.sources.source import EGO4D_LICENCE, HubSource, QuestionSource
from sbr.errors import AnnotationError, DataError, RowProblem
from sbr.types import FrameFolder, ProgressStep, Sample, VideoFrame, VideoRange

VALIDATION = "EgoPlan_validation.json"
TRAINING = "EgoPlan_IT.json"
BENCH2 = "EgoPlan-Bench2.json"
VIDEO_INFO = "EPIC_100_video_info.csv"
EPIC, EGO4D = "EpicKitchens", "Ego4D"

QUESTION = (
    "Considering the progress shown in the video and my current observation in the last frame, "
    "what action should I take next in order to {task_goal}?"
)
"""For rows without a question of their own: EgoPlan-Bench2 leaves it to the reader."""

_Options = tuple[tuple[str, ...], str]
"""Options in their order, and the letter of the right one."""

_SOURCE_OF_LEVEL = {"L1": EPIC, "L2": EGO4D}


def load_validation(root: Path, level: str, limit: int | None) -> list[Sample]:
    """The questions of EgoPlan_validation.json that are those of L1 or L2; `limit` keeps the first ones of the level.

    Raises DataError if a file is missing or is no JSON array, AnnotationError with all problems of its rows (the whole
    file is checked, also with a limit).
    """
    if level not in _SOURCE_OF_LEVEL:
        raise DataError(f"EgoPlan-Bench has no level {level!r}; it has {', '.join(_SOURCE_OF_LEVEL)}")
    wanted = _SOURCE_OF_LEVEL[level]
    samples = _read(root, VALIDATION, _Reader(root, level, _choices, wanted))
    return [sample for sample in samples if sample.video_source == wanted][:limit]


def load_bench2(root: Path, level: str, limit: int | None) -> list[Sample]:
    """The questions of EgoPlan-Bench2.json, level "L3"; raises as `load_validation`."""
    if level != "L3":
        raise DataError(f"EgoPlan-Bench2 has no level {level!r}; its questions are the level 'L3'")
    return _read(root, BENCH2, _Reader(root, "L3", _choices))[:limit]


def load_training(root: Path, train_file: str, seed: int, limit: int | None) -> list[Sample]:
    """The questions of <root>/<train_file>, EgoPlan_IT.json; options are drawn as in data/rows/options.py.

    Raises as `load_validation`.
    """

    def drawn(fields: RowFields, sample_id: str) -> _Options:
        answer, negatives = fields.text("answer"), fields.texts("negative_answers", NEGATIVES)
        if (usable := len(distinct_negatives(answer, negatives))) < NEGATIVES:
            wanted = f"{NEGATIVES} or more that differ from the answer and from each other"
            if len(negatives) >= NEGATIVES:
                fields.problem("negative_answers", wanted, f"a list of {len(negatives)} with {usable} such")
            return (answer,), "A"
        return draw_options(seed, sample_id, answer, negatives)

    return _read(root, train_file, _Reader(root, "train", drawn))[:limit]


def _read(root: Path, name: str, reader: _Reader) -> list[Sample]:
    file = require_array_file(root, name, [VALIDATION, TRAINING, BENCH2])
    return read_array(file, reader.sample)


def _choices(fields: RowFields, _: str) -> _Options:
    options = tuple(fields.text(f"choice_{letter}") for letter in "abcd")
    known = len(fields.problems)
    gold, answer = fields.letter("golden_choice_idx", "ABCD"), fields.text("answer")
    right = options["ABCD".index(gold)]
    if len(fields.problems) == known and right and answer != right:
        fields.problem("answer", f"the text of choice {gold}, {shown(right)}", shown(answer))
    return options, gold


class _Reader:
    """Rows of one file -> Samples of one split."""

    def __init__(self, root: Path, split: str, options: Callable[[RowFields, str], _Options], wanted: str = "") -> None:
        """`wanted`: only rows of this video source will be used; frame rates are not looked up for the others."""
        self.root = Path(os.path.realpath(root))
        self.split = split
        self.options = options
        self.wanted = wanted
        self.seen: set[str] = set()
        self._rates: Mapping[str, float] | None = None

    def sample(self, fields: RowFields) -> Sample:
        sample_id = fields.identifier("sample_id")
        refuse_repeats(fields, "sample_id", sample_id, self.seen)
        goal = fields.text("task_goal")
        options, gold = self.options(fields, sample_id)
        # EgoPlan-Bench2 is all Ego4D and does not say so.
        source = EGO4D if self.split == "L3" and fields.absent("video_source") else fields.text("video_source")
        video_id = self._video_id(fields, sample_id)
        progress = fields.progress("task_progress_metadata")
        first, last = self._frames(fields, progress, 1 if source == EPIC else 0)
        video: FrameFolder | VideoRange
        image: Path | VideoFrame
        if source == EPIC:
            rate = self._rate(fields, video_id) if progress else 1.0
            participant = video_id.partition("_")[0]
            video = FrameFolder(self.root / "EPIC-KITCHENS" / participant / "rgb_frames" / video_id, first, last, rate)
            image = video.file(last)
        else:
            if source not in ("", EGO4D):
                fields.problem("video_source", f"{EPIC} or {EGO4D}", shown(source))
            video = VideoRange(self.root / "Ego4D" / "v1_288p" / f"{video_id}.mp4", first, last)
            image = VideoFrame(video.file, last)
        return Sample(
            sample_id=sample_id,
            split=self.split,
            domain=fields.text("domain") if self.split == "L3" else DAILY_LIFE,
            scenario=fields.optional_text("scenario"),
            video_source=source,
            video_id=video_id,
            video=video if progress else None,
            image=image,
            task_goal=goal,
            question=QUESTION.format(task_goal=goal) if fields.absent("question") else fields.text("question"),
            options=options,
            gold=gold,
            progress=progress,
        )

    def _video_id(self, fields: RowFields, sample_id: str) -> str:
        if self.split != "L3" or not fields.absent("video_id"):
            return fields.folder("video_id")
        # EgoPlan-Bench2 names the video in the id of the sample only.
        video_id = sample_id.rpartition("_")[0]
        if sample_id and (not video_id or path_fault(video_id) or "/" in video_id):
            fields.problem("sample_id", "<video>_<number>, since there is no video_id", shown(sample_id))
        return video_id

    def _frames(self, fields: RowFields, progress: tuple[ProgressStep, ...], least: int) -> tuple[int, int]:
        """First and last frame of the clip; `least` is the number of the first frame of a video."""
        problems = len(fields.problems)
        last = fields.frame("current_observation_frame", least)
        start = fields.optional_frame("task_start_frame")
        if start is None:
            start = min((step.start_frame for step in progress), default=least)
        first = max(start, least)
        if progress and len(fields.problems) == problems and last <= first:
            fields.problem("current_observation_frame", f"a frame after the start of the progress, {first}", str(last))
        return first, last

    def _rate(self, fields: RowFields, video_id: str) -> float:
        if self.wanted not in ("", EPIC):
            return 1.0
        if self._rates is None:
            self._rates = read_frame_rates(self.root / VIDEO_INFO)
        if video_id not in self._rates and not path_fault(video_id):
            fields.problem("video_id", f"a video of {VIDEO_INFO}, which knows its frame rate", shown(video_id))
        return picture_rate(video_id, self._rates.get(video_id, 1.0))


def picture_rate(video_id: str, native: float) -> float:
    """Pictures a second of rgb_frames, which also count the frames of the annotations; `native`: the recording's rate.

    They were taken after all recordings had been brought to one rate: 60 for those of EPIC-KITCHENS-55 (two digits), 50
    for the extension (three digits).  So its authors in epic-kitchens-100-annotations issue 34, C2-Action-Detection
    issue 8 and epic-kitchens-55-annotations issue 25; EPIC_100_video_info.csv lists the rates before that.

    >>> picture_rate("P09_08", 29.97), picture_rate("P06_107", 90.0), picture_rate("kitchen", 25.0)
    (60.0, 50.0, 25.0)
    """
    if re.fullmatch(r"P\d\d_\d\d", video_id):
        return 60.0
    return 50.0 if re.fullmatch(r"P\d\d_\d\d\d", video_id) else native


def read_frame_rates(file: Path) -> dict[str, float]:
    """Frames a second of every Epic-Kitchens recording, from EPIC_100_video_info.csv (columns video_id and fps).

    Raises DataError if it cannot be read, AnnotationError with every bad row.
    """
    advice = (
        "It gives the frame rates of Epic-Kitchens' videos; take it from the repository "
        "epic-kitchens/epic-kitchens-100-annotations"
    )
    if not file.is_file():
        raise DataError(f"{file} cannot be opened (it is not there). {advice}")
    rates: dict[str, float] = {}
    problems: list[RowProblem] = []
    for fields in csv_rows(file, ("video_id", "fps"), "the columns of EPIC_100_video_info.csv"):
        rates[fields.text("video_id")] = _fps(fields)
        problems += fields.problems
    if problems:
        raise AnnotationError(file, problems, advice)
    return rates


def _fps(fields: RowFields) -> float:
    text = fields.text("fps")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if text and not 0 < rate < 1000:
        fields.problem("fps", "frames a second, more than 0 and less than 1000", shown(text))
    return rate


SOURCE = QuestionSource(
    levels={"L1": (VALIDATION, VIDEO_INFO), "L2": (VALIDATION,)},
    load_level=load_validation,
    load_training=load_training,
    training_files=TRAINING,
    hub="EgoPlan-Bench is on Google Drive: take EgoPlan_validation.json and EgoPlan_IT.json by the links in "
    "https://github.com/ChenYi99/EgoPlan, the frames from Epic-Kitchens and the videos from Ego4D",
)

SOURCE_2 = QuestionSource(
    levels={"L3": (BENCH2,)},
    load_level=load_bench2,
    hub=HubSource(
        "qiulu66/EgoPlan-Bench2",
        MappingProxyType({"L3": BENCH2}),
        (EGO4D_LICENCE,),
        "its videos come from Ego4D (https://ego4d-data.org, v1 videos in 288p) and belong into Ego4D/v1_288p/",
    ),
)
