"""Action annotations -> what was done in every video, and for which goal: EPIC-KITCHENS CSV and Ego4D-style JSONL.

EPIC_100_*.csv (epic-kitchens-100-annotations) has one action a line and no goals.  The JSONL has one task a line,
{video_uid, task_goal, task_progress_metadata: [{narration_text, start_frame, stop_frame}, ...]}: a goal and everything
that was done for it, in EgoPlan's form (arXiv 2312.06722).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO

from sbr.data.build.meaning import Meaning, is_other_person, is_unsure, meaning_of, same_action
from sbr.data.sources.egoplan import EGO4D, EPIC, picture_rate, read_frame_rates
from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import parse_lines, shown
from sbr.errors import AnnotationError, ConfigError, DataError, RowProblem

ADVICE = "Correct these rows, or download the file again."
_COLUMNS = (
    *("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "start_frame"),
    *("stop_frame", "narration", "verb_class", "all_noun_classes"),
)
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Action:
    """One narrated action.  Frames as annotated; seconds of the video are None where only frames are known.

    Example: Action("take plate", 1, 113, 0.0, 1.89, (Meaning("0", {"2"}), Meaning("tak", {"plat"}))).
    """

    narration: str
    start_frame: int
    stop_frame: int
    start_seconds: float | None
    stop_seconds: float | None
    meanings: tuple[Meaning, ...]
    """How it reads: by the annotation's classes, if it has them, and by its words."""

    @property
    def order(self) -> tuple[int, int, str]:
        return self.start_frame, self.stop_frame, self.narration

    def same(self, other: Action) -> bool:
        return same_action(self.meanings, other.meanings)


@dataclass(frozen=True, slots=True)
class Task:
    """A goal and all that was done for it, in order of time."""

    video_id: str
    goal: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What one or several files of one source say."""

    source: str
    """"EpicKitchens" or "Ego4D": the video_source of the rows."""
    actions: Mapping[str, tuple[Action, ...]]
    """Video -> all its actions in order of time, each once."""
    tasks: tuple[Task, ...]
    """Empty for EPIC-KITCHENS, which has no goals (sbr.data.build.goals adds them)."""
    participants: Mapping[str, str]
    """Video -> who wears the camera; the video itself where that is not known."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows, and what is odd about them, by name."""

    @property
    def names_people(self) -> bool:
        """Whether the files say which videos are of the same person."""
        return any(video != participant for video, participant in self.participants.items())


def read_annotations(files: Sequence[Path], video_info: Path | None = None) -> Annotations:
    """EPIC-KITCHENS for .csv, Ego4D-style for .jsonl (both also .gz); several files must be of one kind.

    `video_info` is EPIC_100_video_info.csv; None: the one beside the first file.  Raises ConfigError for other names,
    DataError for files that cannot be read, AnnotationError with every problem of a file (file:line, field).
    """
    kinds = {suffix for file in files for suffix in [file.name.removesuffix(".gz").rpartition(".")[2]]}
    if kinds == {"csv"}:
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
        for fields in _csv_rows(file):
            counts["rows"] += 1
            name, video = fields.text("narration_id"), fields.folder("video_id")
            if name and seen.setdefault(name, f"{file.name}:{fields.line}") != f"{file.name}:{fields.line}":
                fields.problem("narration_id", "a new one", f"{shown(name)}, as in {seen[name]}")
            if video and video not in rates:
                fields.problem("video_id", f"a video of {video_info.name}", shown(video))
            action = _epic_action(fields)
            who = fields.folder("participant_id")
            if participants.setdefault(video, who) != who:
                fields.problem("participant_id", f"{participants[video]}, as in earlier rows of {video}", shown(who))
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
    return _annotations(EPIC, by_video, (), participants, counts)


def read_ego4d(files: Sequence[Path]) -> Annotations:
    counts: Counter[str] = Counter()
    by_video: defaultdict[str, dict[Action, None]] = defaultdict(dict)
    tasks: list[Task] = []
    for file in files:
        problems: list[RowProblem] = []
        with _open(file) as stream:
            for line in parse_lines(file, stream):
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
    return _annotations(EGO4D, by_video, tuple(once), {video: video for video in by_video}, counts)


def simultaneous(first: Action, second: Action) -> bool:
    """They begin at the same frame, or overlap for more than half of the shorter one.

    Smaller overlaps are how annotators draw borders: 18 % of neighbours in EPIC_100_validation.csv have one.
    """
    overlap = min(first.stop_frame, second.stop_frame) - max(first.start_frame, second.start_frame)
    shorter = min(first.stop_frame - first.start_frame, second.stop_frame - second.start_frame)
    return first.start_frame == second.start_frame or overlap > shorter / 2


def _annotations(
    source: str,
    by_video: Mapping[str, Sequence[Action] | dict[Action, None]],
    tasks: tuple[Task, ...],
    participants: Mapping[str, str],
    counts: Counter[str],
) -> Annotations:
    actions = {video: tuple(sorted(by_video[video], key=lambda a: a.order)) for video in sorted(by_video)}
    if not any(actions.values()):
        raise DataError("the annotations hold no action at all")
    counts["videos"] = len(actions)
    counts["participants"] = len(set(participants.values()))
    counts["actions"] = sum(map(len, actions.values()))
    for own in actions.values():
        counts["actions with an empty narration"] += sum(not a.narration for a in own)
        counts["actions without length"] += sum(a.start_frame == a.stop_frame for a in own)
        counts["actions from before the first frame"] += sum(a.start_frame < 0 for a in own)
        counts["actions of another person"] += sum(is_other_person(a.narration) for a in own)
        counts["actions with an unsure narration"] += sum(is_unsure(a.narration) for a in own)
        counts["actions that go on with the one before (continue, still)"] += sum(
            a.narration.casefold().startswith(("continu", "still ", "keeps ")) for a in own
        )
        for a, b in pairwise(own):
            counts["neighbours that overlap"] += b.start_frame < a.stop_frame
            counts["neighbours that happen at the same time"] += simultaneous(a, b)
            counts["neighbours with equal narrations"] += a.narration == b.narration
            counts["neighbours that are the same action"] += a.same(b)
    return Annotations(source, actions, tasks, dict(participants), dict(counts))


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
    except ValueError:
        classes = None
    if not isinstance(classes, list) or any(type(item) is not int for item in classes):
        fields.problem(name, "a list of classes such as [2, 11]", shown(text))
        return frozenset()
    return frozenset(map(str, classes))


def _csv_rows(file: Path) -> Iterator[RowFields]:
    with _open(file) as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))  # type: ignore[arg-type]
        try:
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{file}:1: no column {', '.join(missing)}; expected the columns of EPIC_100_train.csv or "
                    "EPIC_100_validation.csv (the files of the test set have no narrations)"
                )
            for row in reader:
                # A row with too few columns has None in the last ones, one with too many has them under None.
                fields = RowFields(file, reader.line_num, {k: v for k, v in row.items() if k and v is not None})
                if None in row:
                    fields.problem("line", f"{len(reader.fieldnames or ())} columns", "one with more")
                yield fields
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file} is not a CSV file in UTF-8: {error}") from None


@contextmanager
def _open(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if its name ends in .gz; DataError if it cannot be read."""
    try:
        with file.open("rb") as stream:
            if file.suffix != ".gz":
                yield stream
                return
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked  # type: ignore[misc]
    except FileNotFoundError:
        raise DataError(f"annotation file {file} does not exist") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file} is not a whole gzip file ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"annotation file {file} cannot be read: {error.strerror}") from None
