"""Which questions a miniature benchmark asks: a pure function of (split, number, seed), and their rows on disk.

A question stops an episode after `done` actions; the action that really follows is the right answer.  Question
`number` of a split does not depend on how many questions are built, so a larger build begins with the smaller one.

L2 asks what L1 asks: question n of both has the same task, moment, options and letter.  What differs is the kitchen and
what it brings (`Shift`), so that the loss from L1 to L2 can be measured question by question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from sbr.data.rows.annotations import CHOICE_LETTERS, TrainingRow, ValidationRow
from sbr.data.rows.options import NEGATIVES
from sbr.mini.world import FRAMES_PER_ACTION, L3_TASKS, TRAIN_TASKS, Episode, Task, environments
from sbr.types import ProgressStep

Split = Literal["train", "L1", "L2", "L3"]
SPLITS: tuple[Split, ...] = ("train", "L1", "L2", "L3")

Shift = Literal["belongings", "camera"]
"""What an unseen kitchen brings besides its walls and its light.  "belongings": the household owns other things
(sbr.mini.draw.belongings).  "camera": it is switched on late, so the clip may begin with a later action."""
SHIFTS: tuple[Shift, ...] = ("belongings", "camera")
LEAST = 2
"""Actions before the question that even a late camera shows: with them a person knows where the task is."""

MOST = 1_000_000
"""Questions of one split: every split has its own range of episode seeds, so none is shared."""
WITHOUT_VIDEO = 20
"""One row of so many asks before the first action: an image and no video."""

_SOURCES: dict[Split, str] = {"train": "EpicKitchens", "L1": "EpicKitchens", "L2": "Ego4D", "L3": "Ego4D"}
_ASKED_AS: dict[Split, Split] = {"train": "train", "L1": "L1", "L2": "L1", "L3": "L3"}
_SENTENCE = (
    "Considering the progress shown in the video and my current observation in the last frame, "
    "what action should I take next in order to {goal}?"
)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Question:
    """Example: split "L1", number 7, an episode of "make tomato soup" in P03, done 2, letter "C"."""

    split: Split
    number: int
    episode: Episode
    done: int
    """Actions already done; the gold answer is `episode.task.steps[done]`."""
    letter: str
    """Where a validation row shows the gold answer."""
    first: int = 0
    """The action of the episode that the clip begins with; above 0 where the camera was switched on late."""

    @property
    def source(self) -> str:
        return _SOURCES[self.split]

    @property
    def video_name(self) -> str | None:
        """Like "P03_1042_2.mp4"; None before the first action."""
        return f"{self.episode.video_id}_{self.done}.mp4" if self.done else None

    @property
    def image_name(self) -> str:
        return f"{self.episode.video_id}_{self.done}.png"

    @property
    def answer(self) -> str:
        return str(self.episode.task.steps[self.done])

    @property
    def negatives(self) -> tuple[str, ...]:
        """All other actions of the task, those already done included, sorted."""
        return tuple(sorted({str(step) for step in self.episode.task.steps} - {self.answer}))


def plan(split: Split, count: int, seed: int, shifts: Set[Shift] = frozenset(SHIFTS)) -> list[Question]:
    """The first `count` questions of a split (at most MOST); `shifts` says what L2 brings."""
    if not 0 <= count <= MOST:
        raise ValueError(f"{count} questions of {split}: 0 to {MOST} can be made")
    return [_question(split, number, seed, shifts) for number in range(count)]


def training_row(question: Question) -> TrainingRow:
    return TrainingRow(**_shared(question), negative_answers=question.negatives)


def validation_row(question: Question, seed: int) -> ValidationRow:
    """Three of the task's other actions are the wrong options; rows of L3 also have the fields of EgoPlan-Bench2."""
    rng = random.Random(f"options/{seed}/{_ASKED_AS[question.split]}/{question.number}")
    choices = rng.sample(question.negatives, NEGATIVES)
    choices.insert(CHOICE_LETTERS.index(question.letter), question.answer)
    task = question.episode.task
    unseen = question.split == "L3"
    return ValidationRow(
        **_shared(question),
        choice_a=choices[0],
        choice_b=choices[1],
        choice_c=choices[2],
        choice_d=choices[3],
        golden_choice_idx=question.letter,
        domain=task.domain if unseen else None,
        scenario=task.place if unseen else None,
        task_start_frame=0 if unseen else None,
    )


def _question(split: Split, number: int, seed: int, shifts: Set[Shift]) -> Question:
    asked = _ASKED_AS[split]
    rng = random.Random(f"question/{seed}/{asked}/{number}")
    task = _dealt(L3_TASKS if split == "L3" else TRAIN_TASKS, number, f"task/{seed}/{asked}")
    place = rng.choice(
        [place for place in environments("L3" if split == "L3" else "train") if place.place == task.place]
    )
    episode_seed = (seed * len(SPLITS) + SPLITS.index(split)) * MOST + number
    untouched = _dealt((True,) + (False,) * (WITHOUT_VIDEO - 1), number, f"first/{seed}/{asked}")
    done = 0 if untouched else rng.randint(1, len(task.steps) - 1)
    first = 0
    if split == "L2":
        place = random.Random(f"kitchen/{seed}/{number}").choice(environments("L2"))
        if "belongings" not in shifts:
            place = replace(place, household=0)
        if "camera" in shifts and done > LEAST:
            first = random.Random(f"camera/{seed}/{number}").randint(0, done - LEAST)
    return Question(
        split=split,
        number=number,
        episode=Episode(task, place, episode_seed),
        done=done,
        letter=_dealt(CHOICE_LETTERS, number, f"letter/{seed}/{asked}"),
        first=first,
    )


def _dealt(items: Sequence[_Item], number: int, name: str) -> _Item:
    """The items like cards: shuffled, dealt, shuffled again; so all come up equally often."""
    hand, place = divmod(number, len(items))
    return random.Random(f"{name}/{hand}").sample(items, len(items))[place]


def _progress(task: Task, first: int, done: int) -> tuple[ProgressStep, ...]:
    return tuple(
        ProgressStep(str(step), k * FRAMES_PER_ACTION, (k + 1) * FRAMES_PER_ACTION - 1)
        for k, step in enumerate(task.steps[first:done])
    )


def _shared(question: Question) -> dict[str, Any]:
    """Values of the fields that every row has (sbr.data.rows.annotations.EgoPlanRow)."""
    task = question.episode.task
    return {
        "sample_id": str(SPLITS.index(question.split) * MOST + question.number),
        "video_source": question.source,
        "video_id": question.episode.video_id,
        "video_basename": question.video_name,
        "current_observation_basename": question.image_name,
        "current_observation_frame": (question.done - question.first) * FRAMES_PER_ACTION,
        "task_goal": task.goal,
        "question": _SENTENCE.format(goal=task.goal),
        "answer": question.answer,
        "task_progress_metadata": _progress(task, question.first, question.done),
    }
