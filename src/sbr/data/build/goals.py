"""Task goals for annotations that have none: from a file, or from what a language model says about stretches of video.

A goals file has one goal a row: `video_id`, `task_goal`, `start_frame`, `stop_frame` (JSONL, or CSV with a header).
Every action of the video that begins inside belongs to the goal.  Goals may overlap; nothing is made up for the rest.

A model is shown the narrations of a stretch of video, numbered, and answers with goals and the numbers of their first
and last actions.  Every answer is kept as it came, one line each, so that the same goals come out of it every time;
answers that cannot be read are counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from sbr.data.build.action_files import ADVICE
from sbr.data.build.actions import Action, Annotations, Task
from sbr.data.rows.csv_rows import csv_rows
from sbr.data.rows.fields import RowFields
from sbr.data.rows.jsonl import parse_lines
from sbr.data.rows.lines import file_lines
from sbr.errors import AnnotationError, DataError, RowProblem

LONGEST_GOAL = 200
"""Characters; a longer "goal" is a story."""
_COLUMNS = ("video_id", "task_goal", "start_frame", "stop_frame")
_NUMBER = re.compile(r"-?[0-9]{1,10}")
Messages: TypeAlias = list[dict[str, str]]
"""An OpenAI-style chat."""

_SYSTEM = (
    "You read what a person did in a video, one numbered action a line, and say which tasks the person was carrying "
    "out. Answer with a JSON array only: one object for each task with the keys goal (a short instruction in the "
    'imperative, such as "make coffee"), first and last (numbers of its first and last action). A task is a run of '
    "at least 4 actions one after the other that serve one purpose. Leave out actions that belong to no task."
)


@dataclass(frozen=True, slots=True)
class GoalSegment:
    """A goal and where it is pursued, frames as in the annotations."""

    video_id: str
    task_goal: str
    start_frame: int
    stop_frame: int


@dataclass(frozen=True, slots=True)
class GoalAnswer:
    """What a model said about one stretch, as it came."""

    stretch: str
    """Names what was asked: video, actions, prompt and model."""
    video_id: str
    reply: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive actions of a video that are shown at once."""

    video_id: str
    actions: tuple[Action, ...]

    def messages(self) -> Messages:
        lines = "\n".join(f"{i}. {action.narration}" for i, action in enumerate(self.actions, 1))
        return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": lines}]

    def key(self, model: str) -> str:
        """Changes when anything that decides the answer changes."""
        place = [(action.start_frame, action.stop_frame) for action in self.actions]
        content = json.dumps([model, self.video_id, place, self.messages()])
        return hashlib.sha256(content.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class AddedGoals:
    annotations: Annotations
    """With tasks."""
    counts: Mapping[str, int]


def add_goals(annotations: Annotations, segments: Sequence[GoalSegment]) -> AddedGoals:
    """The tasks that the segments make of the actions.  Segments of videos without actions are counted."""
    counts: Counter[str] = Counter({"goals": len(segments)})
    tasks: set[Task] = set()
    covered: set[tuple[str, Action]] = set()
    for segment in segments:
        own = tuple(
            action
            for action in annotations.actions.get(segment.video_id, ())
            if segment.start_frame <= action.start_frame <= segment.stop_frame
        )
        if segment.video_id not in annotations.actions:
            counts["goals of videos that are not in the annotations"] += 1
        elif not own:
            counts["goals without any action"] += 1
        else:
            tasks.add(Task(segment.video_id, segment.task_goal, own))
            covered.update((segment.video_id, action) for action in own)
    total = sum(map(len, annotations.actions.values()))
    counts["actions without a goal"] = total - len(covered)
    ordered = tuple(sorted(tasks, key=lambda task: (task.video_id, [a.order for a in task.actions], task.goal)))
    added = Annotations(annotations.source, annotations.actions, ordered, annotations.participants, annotations.counts)
    return AddedGoals(added, dict(counts))


def read_goals(file: Path) -> list[GoalSegment]:
    """Raises DataError if `file` cannot be read, AnnotationError with all its problems."""
    segments: list[GoalSegment] = []
    problems: list[RowProblem] = []
    for fields in _goal_rows(file, problems):
        start, stop = fields.frame("start_frame"), fields.frame("stop_frame", 0)
        if not fields.problems and stop < start:
            fields.problem("stop_frame", f"{start} (start_frame) or later", str(stop))
        goal = " ".join(fields.text("task_goal").split())
        segments.append(GoalSegment(fields.text("video_id"), goal, start, stop))
        problems += fields.problems
    if problems:
        raise AnnotationError(file, problems, ADVICE)
    if not segments:
        raise DataError(f"{file} holds no goal; expected rows of video_id, task_goal, start_frame, stop_frame")
    return segments


def write_goals(segments: Sequence[GoalSegment]) -> bytes:
    """The bytes of a goals file (JSONL)."""
    return "".join(json.dumps(asdict(segment), ensure_ascii=False) + "\n" for segment in segments).encode()


def stretches(annotations: Annotations, most: int) -> Iterator[Stretch]:
    """Every video in parts of at most `most` actions and about equal length."""
    for video, actions in annotations.actions.items():
        parts = max(1, -(-len(actions) // most))
        borders = [len(actions) * i // parts for i in range(parts + 1)]
        for begin, end in pairwise(borders):
            if begin < end:
                yield Stretch(video, actions[begin:end])


def goals_of(
    all_stretches: Sequence[Stretch], answers: Mapping[str, GoalAnswer], model: str
) -> tuple[list[GoalSegment], Mapping[str, int]]:
    """Goals in the order of the stretches, and how many answers there were, could be read, or were missing."""
    counts: Counter[str] = Counter({"stretches": len(all_stretches)})
    segments: list[GoalSegment] = []
    for stretch in all_stretches:
        answer = answers.get(stretch.key(model))
        if answer is None:
            counts["stretches without an answer"] += 1
            continue
        goals, bad = parse_reply(stretch, answer.reply)
        counts["answers that cannot be read"] += goals is None
        counts["answers without a task"] += goals == []
        counts["goals left out of answers (no text, too long, or impossible numbers)"] += bad
        segments += goals or []
    return segments, dict(counts)


def parse_reply(stretch: Stretch, reply: str) -> tuple[list[GoalSegment] | None, int]:
    """Goals of one reply and the number of those left out; (None, 0) if it holds no JSON array of objects.

    The array may stand inside other text, such as a code fence: the last array that can be read counts, and one without
    objects only if there is no other.  Thoughts (<think>) are passed over: what they hold are drafts.
    """
    reply = reply.rpartition("</think>")[2].partition("<think>")[0]
    items: list[object] | None = None
    decoder = json.JSONDecoder()
    at = reply.find("[")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, list) and all(isinstance(item, dict) for item in value):
                items = value or items or []
        at = reply.find("[", end)
    if items is None:
        return None, 0
    goals = [segment for item in items if (segment := _segment(stretch, item)) is not None]
    return goals, len(items) - len(goals)


def _segment(stretch: Stretch, item: object) -> GoalSegment | None:
    values = item if isinstance(item, dict) else {}
    goal, first, last = values.get("goal"), values.get("first"), values.get("last")
    if not isinstance(goal, str) or not 0 < len(text := " ".join(goal.split()).rstrip(".")) <= LONGEST_GOAL:
        return None
    if type(first) is not int or type(last) is not int or not 1 <= first <= last <= len(stretch.actions):
        return None
    own = stretch.actions[first - 1 : last]
    return GoalSegment(stretch.video_id, text, own[0].start_frame, own[-1].start_frame)


def _goal_rows(file: Path, problems: list[RowProblem]) -> Iterator[RowFields]:
    if file.suffix != ".csv":
        for line in parse_lines(file, file_lines(file)):
            if line.values is None:
                problems += [line.problem] if line.problem else []
            else:
                yield RowFields(file, line.number, line.values)
        return
    for fields in csv_rows(file, _COLUMNS, f"the columns {', '.join(_COLUMNS)}"):
        numbers = {name: int(text) for name, text in fields.values.items() if _NUMBER.fullmatch(text.strip())}
        frames = {name: numbers[name] for name in ("start_frame", "stop_frame") if name in numbers}
        yield RowFields(file, fields.line, {**fields.values, **frames}, fields.problems)
