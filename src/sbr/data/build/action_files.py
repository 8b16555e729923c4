"""Action annotations -> Annotations: EPIC-KITCHENS CSV and Ego4D-style JSONL.

EPIC_100_*.csv (epic-kitchens-100-annotations) has one action a line and no goals.  The JSONL has one task a line,
{video_uid, task_goal, task_progress_metadata: [{narration_text, start_frame, stop_frame}, ...]}: a goal and everything
that was done for it, in EgoPlan's form (arXiv 2312.06722).
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from sbr.data.build.actions import Action, Annotations, Task, annotations_of
from sbr.data.build.meaning import Meaning, meaning_of
from sbr.data.rows.csv_rows import csv_rows
from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import parse_lines, shown
from sbr.data.rows.lines import file_lines, require_readable
from sbr.data.sources.egoplan import EGO4D, EPIC, picture_rate, read_frame_rates
from sbr.errors import AnnotationError, ConfigError, RowProblem

ADVICE = "Correct these rows, or download the file again."
_COLUMNS = (
    *("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "start_frame"),
    *("stop_frame", "narration", "verb_class", "all_noun_classes"),
)
_EXPECTED = (
    "the columns of EPIC_100_train.csv or EPIC_100_validation.csv (the files of the test set have no narrations)"
)
_CLOCK = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,9})?)")


def read_annotations(files: Sequence[Path], video_info: Path | None = None) -> Annotations:
    """EPIC-KITCHENS for .csv, Ego4D-style for .jsonl (both also .gz); several files must be of one kind.

    `video_info` is EPIC_100_video_info.csv; None: the one beside the first file.  Raises ConfigError for other names,
    DataError for files that cannot be read, AnnotationError with every problem of a file (file:line, field).
    """
    kinds = {suffix for file in files for suffix in [file.name.removesuffix(".gz").rpartition(".")[2]]}
    if kinds == {"csv"}:
        for file in files:
            require_readable(file)  # before the file beside it
        return read_epic(files, video_info or files[0].parent / "EPIC_100_video_info.csv")
    if kinds == {"jsonl"}:
        if video_info is not None:
            raise ConfigError("--video-info belongs to EPIC-KITCHENS; Ego4D-style files do not use it")
        return read_ego4d(files)
    names = ", ".join(file.name for file in files)
    raise ConfigError(
        f"{names}: expected EPIC-KITCHENS annotations (.csv) or Ego4D-style tasks (.jsonl), each also as .gz, and one "
        "kind at a time"
    )


def read_epic(files: Sequence[Path], video_info: Path) -> Annotations:
    rates = read_frame_rates(video_info)
    counts: Counter[str] = Counter()
    by_video: defaultdict[str, list[Action]] = defaultdict(list)
    participants: dict[str, str] = {}
    seen: dict[str, str] = {}
    for file in files:
        problems: list[RowProblem] = []
        for fields in csv_rows(file, _COLUMNS, _EXPECTED):
            counts["rows"] += 1
            name, video = fields.text("narration_id"), fields.folder("video_id")
            if name and seen.setdefault(name, f"{file.name}:{fields.line}") != f"{file.name}:{fields.line}":
                fields.problem("narration_id", "a new one", f"{shown(name)}, as in {seen[name]}")
            if video and video not in rates:
                fields.problem("video_id", f"a video of {video_info.name}", shown(video))
            action = _epic_action(fields)
            who = fields.folder("participant_id")
            if participants.setdefault(video, who) != who:
                fields.problem(
                    "participant_id", f"{shown(participants[video])}, as in earlier rows of {shown(video)}", shown(who)
                )
            problems += fields.problems
            if fields.problems:
                continue
            by_video[video].append(action)
            rate = picture_rate(video, rates[video])
            counts["rows whose frame numbers are not their times at the video's rate"] += _differ(action, rates[video])
            counts["rows whose frame numbers are not their times at the rate of the pictures"] += _differ(action, rate)
            counts["rows without narration_timestamp"] += fields.values.get("narration_timestamp") == ""
        if problems:
            raise AnnotationError(file, problems, ADVICE)
    return annotations_of(EPIC, by_video, (), participants, counts)


def read_ego4d(files: Sequence[Path]) -> Annotations:
    counts: Counter[str] = Counter()
    by_video: defaultdict[str, dict[Action, None]] = defaultdict(dict)
    tasks: list[Task] = []
    for file in files:
        problems: list[RowProblem] = []
        for line in parse_lines(file, file_lines(file)):
            counts["rows"] += 1
            if line.values is None:
                problems += [line.problem] if line.problem else []
                continue
            fields = RowFields(file, line.number, line.values)
            video, goal = fields.folder("video_uid"), fields.text("task_goal")
            steps = fields.progress("task_progress_metadata")
            problems += fields.problems
            if fields.problems:
                continue
            actions = [
                Action(text, step.start_frame, step.stop_frame, None, None, (meaning_of(text),))
                for step in steps
                for text in [" ".join(step.narration_text.split())]
            ]
            counts["tasks without any action"] += not actions
            by_video[video].update(dict.fromkeys(actions))
            tasks.append(Task(video, " ".join(goal.split()), tuple(sorted(actions, key=lambda a: a.order))))
        if problems:
            raise AnnotationError(file, problems, ADVICE)
    once = sorted(set(tasks), key=lambda task: (task.video_id, [a.order for a in task.actions], task.goal))
    counts["tasks that are there twice"] = len(tasks) - len(once)
    return annotations_of(EGO4D, by_video, tuple(once), {video: video for video in by_video}, counts)


def _epic_action(fields: RowFields) -> Action:
    narration = " ".join(fields.text("narration").split())
    start, stop = _integer(fields, "start_frame"), _integer(fields, "stop_frame")
    begin, end = _seconds(fields, "start_timestamp"), _seconds(fields, "stop_timestamp")
    verb = str(_integer(fields, "verb_class"))
    nouns = _classes(fields, "all_noun_classes")
    if not fields.problems:
        if stop <= start:
            fields.problem("stop_frame", f"a frame after start_frame, {start}", str(stop))
        if end <= begin:
            fields.problem("stop_timestamp", f"a time after start_timestamp, {begin} s", f"{end} s")
    return Action(narration, start, stop, begin, end, (Meaning(verb, nouns), meaning_of(narration)))


def _differ(action: Action, rate: float) -> bool:
    """Whether the annotated frames are more than two away from the annotated times at `rate` frames a second."""
    pairs = ((action.start_seconds, action.start_frame), (action.stop_seconds, action.stop_frame))
    return any(seconds is not None and abs(seconds * rate - frame) > 2 for seconds, frame in pairs)


def _integer(fields: RowFields, name: str) -> int:
    text = fields.text(name, "an integer, 0 or more")
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    if text:
        fields.problem(name, "an integer, 0 or more", shown(text))
    return 0


def _seconds(fields: RowFields, name: str) -> float:
    text = fields.text(name, "a time such as 00:01:02.35")
    match = _CLOCK.fullmatch(text)
    if match:
        return round(int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]), 3)
    if text:
        fields.problem(name, "a time such as 00:01:02.35", shown(text))
    return 0.0


def _classes(fields: RowFields, name: str) -> frozenset[str]:
    text = fields.text(name, "a list of classes such as [2, 11]")
    try:
        classes = json.loads(text) if text else []
    except (ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or any(type(item) is not int for item in classes):
        fields.problem(name, "a list of classes such as [2, 11]", shown(text))
        return frozenset()
    return frozenset(map(str, classes))
