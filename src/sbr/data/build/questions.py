"""Tasks -> questions: what came before, what is seen now, which action came next, and which wrong actions are offered.

As SEED-Bench-R1 describes its questions (arXiv 2503.24376, section 3): the right answer is the action that came next in
the uncut video, the wrong ones are other actions of the same video.  The current observation is the end of the last
step of the progress, as in EgoPlan-Bench (arXiv 2312.06722; its published example P01_13 observes frame 760, where
"open cupboard" ends, while the right action begins at 790), but never behind the beginning of the right action.

Every action of every task is tried.  What is left out is counted under one reason each, in the order of `Reason`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, groupby

from sbr.data.build.actions import Action, Annotations, Task, simultaneous
from sbr.data.build.meaning import is_other_person, is_unsure, meaning_of
from sbr.data.rows.options import NEGATIVES, reads_as
from sbr.data.sources.egoplan import QUESTION
from sbr.types import ProgressStep

SHORTEST_CLIP = 4
"""Frames; the official sampling takes at least four (facts of the official code: 4 to 16 frames)."""


class Reason(StrEnum):
    """Why an action of a task is not asked for."""

    EMPTY_NARRATION = "the right action has no narration"
    UNSURE = "the right action is unsure to its narrator"
    OTHER_PERSON = "the right action is another person's"
    EMPTY_PROGRESS = "nothing came before (--empty-progress keeps these)"
    STILL_GOING = "a step of the progress happens at the same time as the right action"
    NOT_NEXT = "another action of the video comes between"
    SAME_AS_LAST = "the right action is the last one again"
    GOAL_SAYS_IT = "the goal is nothing but the right action"
    SHORT_CLIP = f"the progress is shorter than {SHORTEST_CLIP} frames"
    FEW_NEGATIVES = f"fewer than {NEGATIVES} usable wrong actions"
    REPEATED = "the same question is asked already"


class NotOffered(StrEnum):
    """Why an action of the video is not offered as a wrong one."""

    LIKE_ANSWER = "near-duplicate of the right action"
    LIKE_OTHER = "near-duplicate of another wrong action"
    ALSO_TRUE = "also true: happens at the same time or right after"
    UNUSABLE = "no narration, unsure, or another person's"


@dataclass(frozen=True, slots=True)
class BuiltQuestion:
    """One question before it has a split.

    Example: P01_13, "store cereal": progress up to "open cupboard" (689-760), current_frame 760, answer "put cereal
    box into cupboard", negatives ("take cereal bag", "fold cereal bag", ...).
    """

    sample_id: str
    video_id: str
    goal: str
    question: str
    progress: tuple[ProgressStep, ...]
    first_frame: int
    """Of the clip; equal to current_frame where there is no progress and therefore no clip."""
    current_frame: int
    first_seconds: float | None
    """As the frames, where the annotations give times; they are what a video file is cut by."""
    current_seconds: float | None
    answer: str
    negatives: tuple[str, ...]
    """Those of the same task first, then the nearest in time."""


@dataclass(frozen=True, slots=True)
class Built:
    """`tried` = len(questions) + the sum of `dropped`."""

    questions: tuple[BuiltQuestion, ...]
    tried: int
    dropped: Mapping[Reason, int]
    not_offered: Mapping[NotOffered, int]
    """Candidates passed over while the wrong actions of all questions were collected."""
    cut_steps: int
    """Steps of the progress whose end was moved forward to the current observation."""


def build_questions(annotations: Annotations, empty_progress: bool, negatives: int) -> Built:
    """The questions of all tasks, in an order that does not depend on that of the files' rows.

    `negatives` wrong actions are kept at most for each (3 or more).
    """
    questions: dict[tuple[str, int, str, str], BuiltQuestion] = {}
    tried = cut_steps = 0
    dropped: Counter[Reason] = Counter()
    not_offered: Counter[NotOffered] = Counter()
    for video, tasks in groupby(annotations.tasks, key=lambda task: task.video_id):
        timeline = _Timeline(annotations.actions[video], not_offered)
        for task in tasks:
            places = [timeline.place[action] for action in task.actions]
            for index in range(len(places)):
                tried += 1
                made = timeline.question(task, places, index, empty_progress, negatives)
                if isinstance(made, Reason):
                    dropped[made] += 1
                    continue
                key = (made.video_id, made.current_frame, reads_as(made.goal), reads_as(made.answer))
                if key in questions:
                    dropped[Reason.REPEATED] += 1
                    continue
                questions[key] = made
                cut_steps += sum(step.stop_frame > made.current_frame for step in task.actions[:index])
    return Built(tuple(questions.values()), tried, dict(dropped), dict(not_offered), cut_steps)


class _Timeline:
    """The actions of one video, named by their place in it."""

    def __init__(self, actions: Sequence[Action], not_offered: Counter[NotOffered]) -> None:
        self.place = {action: i for i, action in enumerate(actions)}
        self._actions = actions
        self._starts = [action.start_frame for action in actions]
        self._last_stop = list(accumulate((action.stop_frame for action in actions), max))
        self._unfit = [_unfit(action.narration) for action in actions]
        self._not_offered = not_offered

    def question(
        self, task: Task, places: Sequence[int], index: int, empty_progress: bool, negatives: int
    ) -> BuiltQuestion | Reason:
        gold, before = task.actions[index], task.actions[:index]
        if reason := self._unfit[places[index]]:
            return reason
        if not before and not empty_progress:
            return Reason.EMPTY_PROGRESS
        if any(simultaneous(step, gold) for step in before):
            return Reason.STILL_GOING
        begin = max(gold.start_frame, 0)
        current = min(max((step.stop_frame for step in before), default=begin), begin)
        if before and self._another_between(set(places[:index]), gold, current):
            return Reason.NOT_NEXT
        if before and before[-1].same(gold):
            return Reason.SAME_AS_LAST
        if meaning_of(task.goal) == meaning_of(gold.narration):
            return Reason.GOAL_SAYS_IT
        first = max(min((step.start_frame for step in before), default=current), 0)
        if before and current - first + 1 < SHORTEST_CLIP:
            return Reason.SHORT_CLIP
        wrong = self._wrong(places, index, negatives)
        if len(wrong) < NEGATIVES:
            return Reason.FEW_NEGATIVES
        first_seconds, current_seconds = _seconds(before, gold)
        content = "\0".join((task.video_id, str(current), reads_as(task.goal), reads_as(gold.narration)))
        return BuiltQuestion(
            sample_id=f"{task.video_id}_{current}_{hashlib.sha256(content.encode()).hexdigest()[:8]}",
            video_id=task.video_id,
            goal=task.goal,
            question=QUESTION.format(task_goal=task.goal.rstrip(".")),
            progress=tuple(
                ProgressStep(step.narration, step.start_frame, min(step.stop_frame, current)) for step in before
            ),
            first_frame=first,
            current_frame=current,
            first_seconds=first_seconds,
            current_seconds=current_seconds,
            answer=gold.narration,
            negatives=wrong,
        )

    def _another_between(self, known: set[int], gold: Action, current: int) -> bool:
        """Whether the uncut video has an action between the current observation and the right one."""
        between = range(bisect_left(self._starts, current), bisect_left(self._starts, gold.start_frame))
        return any(i not in known and not simultaneous(self._actions[i], gold) for i in between)

    def _wrong(self, places: Sequence[int], index: int, most: int) -> tuple[str, ...]:
        at = places[index]
        gold = self._actions[at]
        also_true = self._also_true(at)
        kept: list[Action] = []
        for i in self._candidates(places, index):
            action = self._actions[i]
            why = None
            if self._unfit[i]:
                why = NotOffered.UNUSABLE
            elif action.same(gold):
                why = NotOffered.LIKE_ANSWER
            elif any(action.same(other) for other in also_true):
                why = NotOffered.ALSO_TRUE
            elif any(action.same(other) for other in kept):
                why = NotOffered.LIKE_OTHER
            if why is not None:
                self._not_offered[why] += 1
                continue
            kept.append(action)
            if len(kept) == most:
                break
        return tuple(action.narration for action in kept)

    def _also_true(self, at: int) -> list[Action]:
        """What happens at the same time as the right action, and what begins next after it."""
        gold = self._actions[at]
        found = []
        for i in range(at - 1, -1, -1):
            if self._starts[i] < gold.start_frame and self._last_stop[i] <= gold.start_frame:
                break  # nothing from here back reaches the right action
            if simultaneous(self._actions[i], gold):
                found.append(self._actions[i])
        for action in self._actions[at + 1 :]:
            found.append(action)
            if not simultaneous(action, gold):
                break
        return found

    def _candidates(self, places: Sequence[int], index: int) -> Iterator[int]:
        """Actions of the task, then the others of the video, each from the nearest to the farthest."""
        own = set(places)
        seen = {places[index]}
        for i in self._nearest(places, index):
            if i not in seen:
                seen.add(i)
                yield i
        yield from (i for i in self._nearest(range(len(self._actions)), places[index]) if i not in own)

    def _nearest(self, places: Sequence[int], at: int) -> Iterator[int]:
        left, right, here = at - 1, at + 1, self._starts[places[at]]
        while left >= 0 or right < len(places):
            if right == len(places) or (
                left >= 0 and here - self._starts[places[left]] <= self._starts[places[right]] - here
            ):
                yield places[left]
                left -= 1
            else:
                yield places[right]
                right += 1


def _unfit(narration: str) -> Reason | None:
    if not narration:
        return Reason.EMPTY_NARRATION
    if is_unsure(narration):
        return Reason.UNSURE
    return Reason.OTHER_PERSON if is_other_person(narration) else None


def _seconds(before: Sequence[Action], gold: Action) -> tuple[float | None, float | None]:
    """Times of the first frame of the clip and of the current observation."""
    if gold.start_seconds is None:
        return None, None
    current = min(max((s.stop_seconds or 0.0 for s in before), default=gold.start_seconds), gold.start_seconds)
    return min((s.start_seconds or 0.0 for s in before), default=current), current
