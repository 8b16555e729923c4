"""LongVideoBench (arXiv 2407.15754) as it is released: lvb_val.json with 2 to 5 options on whole web videos.

    <root>/lvb_val.json
    <root>/videos/<video_path>
    <root>/subtitles/<subtitle_path>

SEED-Bench-R1's authors ask it with 16 frames, without subtitles and without a separate image (arXiv 2503.24376,
Table 3).  The benchmark's own loader puts the subtitles between the frames; so do we if asked to.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from sbr.data.rows.fields import RowFields, is_seconds
from sbr.data.rows.json_array import read_array, refuse_repeats, require_array_file
from sbr.data.rows.jsonl import shown
from sbr.data.sources.source import HubSource, QuestionSource
from sbr.errors import DataError
from sbr.types import LETTERS, Sample, Subtitle

VALIDATION = "lvb_val.json"
LEVEL = "val"
VIDEOS, SUBTITLES = "videos", "subtitles"
_CLOCK = re.compile(r"([0-9]{1,4}):([0-9]{1,2}):([0-9]{1,2}(?:[.,][0-9]{1,9})?)")

DURATIONS: Mapping[int, str] = MappingProxyType({15: "(8,15]", 60: "(15,60]", 600: "(180,600]", 3600: "(900,3600]"})
"""duration_group -> seconds of its videos, as the columns of arXiv 2503.24376, Table 3 are named."""

LEVELS: Mapping[str, str] = MappingProxyType({"L1-Perception": "L1 (Perception)", "L2-Relation": "L2 (Relation)"})
"""LongVideoBench's own levels, named as in that table; groups here, since they are no levels of generalisation."""


@dataclass(frozen=True, slots=True)
class SubtitleSource:
    """Where the subtitles of a video lie below subtitles/, and how their times become those of the video."""

    path: str
    offset: float
    """Time of the subtitles at which the video begins."""
    duration: float
    """Seconds of the video."""


def load_level(root: Path, level: str, limit: int | None, subtitles: bool = False) -> list[Sample]:
    """The questions of lvb_val.json in the order of the file; `limit` keeps the first ones.  `level` is "val".

    domain is the topic category; groups are duration, level and category.  `subtitles` reads those of the questions
    returned, too.  Raises DataError if a file or videos/ is not there or is no JSON array, AnnotationError with all
    problems of its rows (the whole file is checked, also with a limit).
    """
    if level != LEVEL:
        raise DataError(f"LongVideoBench has no level {level!r}; its questions are the level {LEVEL!r}")
    file = require_array_file(root, VALIDATION, [VALIDATION])
    folder = root.resolve() / VIDEOS
    seen: set[str] = set()
    sources: list[SubtitleSource] = []

    def parse(fields: RowFields) -> Sample:
        if subtitles:
            sources.append(_subtitle_source(fields))
        return _sample(fields, folder, seen)

    samples = read_array(file, parse)[:limit]
    if not folder.is_dir():
        raise DataError(f"{root} has no folder {VIDEOS}/, where the videos of {VALIDATION} lie; unpack them there")
    if not subtitles:
        return samples
    texts = {source: read_subtitles(root / SUBTITLES / source.path, source) for source in sources[:limit]}
    return [
        dataclasses.replace(sample, subtitles=texts[source])
        for sample, source in zip(samples, sources[:limit], strict=True)
    ]


def read_subtitles(file: Path, source: SubtitleSource) -> tuple[Subtitle, ...]:
    """The subtitles of one video in the order of the file; times count from the beginning of the video.

    Two forms, as in the official loader (longvideobench_dataset.py): {"timestamp": [start, end], "text": ...} in
    seconds, where an end that is null means the end of the video, and {"start": "00:00:01.000", "end": ...,
    "line": ...}.  The loader takes the duration for every end that is no float, integers too, and then subtracts the
    offset, so that its end may lie before the start; here a number is a number, and null is the end of the video after
    the offset.  Raises DataError and AnnotationError with the file, the row and the field.
    """
    if not file.is_file():
        raise DataError(f"subtitles {file} do not exist; unpack them there, or ask with data.subtitles = false")
    return tuple(read_array(file, lambda fields: _subtitle(fields, source), may_be_empty=True))


def _subtitle(fields: RowFields, source: SubtitleSource) -> Subtitle:
    if "timestamp" in fields.values:
        name, (start, end) = "text", _seconds(fields, source)
    else:
        name, start, end = "line", _clock(fields, "start"), _clock(fields, "end")
    # An empty one says nothing, which is no mistake.
    text = "" if fields.values.get(name) == "" else fields.text(name)
    return Subtitle(text, start - source.offset, end - source.offset)


def _seconds(fields: RowFields, source: SubtitleSource) -> tuple[float, float]:
    match fields.values["timestamp"]:
        case [start, end] if is_seconds(start) and is_seconds(end):
            return start, end
        case [start, None] if is_seconds(start):
            return start, source.offset + source.duration
        case found:
            fields.problem("timestamp", "a list of two times in seconds", shown(found))
            return 0.0, 0.0


def _clock(fields: RowFields, name: str) -> float:
    """Seconds of a time such as "00:01:02.500"."""
    text = fields.text(name, "a time such as 00:01:02.500")
    if match := _CLOCK.fullmatch(text):
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))
    if text:
        fields.problem(name, "a time such as 00:01:02.500", shown(text))
    return 0.0


def _subtitle_source(fields: RowFields) -> SubtitleSource:
    return SubtitleSource(
        fields.path("subtitle_path", f"a path below {SUBTITLES}/"),
        fields.seconds("starting_timestamp_for_subtitles"),
        fields.seconds("duration"),
    )


def _sample(fields: RowFields, folder: Path, seen: set[str]) -> Sample:
    sample_id = fields.identifier("id")
    refuse_repeats(fields, "id", sample_id, seen)
    options = fields.texts("candidates", 2)
    if len(options) > len(LETTERS):
        fields.problem("candidates", f"2 to {len(LETTERS)} texts", f"a list of {len(options)}")
    return Sample(
        sample_id=sample_id,
        split=LEVEL,
        domain=fields.text("topic_category"),
        scenario=None,
        video_source="LongVideoBench",
        video_id=fields.text("video_id"),
        video=folder / fields.path("video_path", f"a path below {VIDEOS}/"),
        image=None,
        task_goal=None,
        question=fields.text("question"),
        options=options,
        gold=_gold(fields, min(len(options), len(LETTERS))),
        groups=(
            ("duration", _one_of(fields, "duration_group", DURATIONS)),
            ("level", _one_of(fields, "level", LEVELS)),
            ("category", fields.text("question_category")),
        ),
    )


def _gold(fields: RowFields, options: int) -> str:
    index = fields.values.get("correct_choice")
    if type(index) is int and 0 <= index < options:
        return LETTERS[index]
    found = shown(index) if "correct_choice" in fields.values else "missing"
    fields.problem("correct_choice", f"the index of a candidate, 0 to {max(options - 1, 0)}", found)
    return LETTERS[0]


def _one_of(fields: RowFields, name: str, known: Mapping[int, str] | Mapping[str, str]) -> str:
    value = fields.values.get(name)
    for key, label in known.items():
        if type(value) is type(key) and value == key:
            return label
    found = shown(value) if name in fields.values else "missing"
    fields.problem(name, f"one of {', '.join(map(str, known))}", found)
    return ""


SOURCE = QuestionSource(
    levels={LEVEL: (VALIDATION,)},
    load_level=load_level,
    load_subtitled=partial(load_level, subtitles=True),
    hub=HubSource(
        "longvideobench/LongVideoBench",
        MappingProxyType({LEVEL: VALIDATION}),
        ("LongVideoBench: CC BY-NC-SA 4.0, not for commercial use; the hub asks you to accept its conditions",),
        "its videos are one archive in parts; fetch videos.tar.part.* (about 160 GB), join them (cat) and unpack",
    ),
)
