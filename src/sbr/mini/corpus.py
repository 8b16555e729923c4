"""What the miniature's base model is pretrained on.  It stands for the web-scale pretraining of a real base model.

Four kinds of lessons, all as chat turns, all in pretraining environments only:

    caption   a clip of 1-6 actions             -> "done <all of them>", and "i see <the last two of them>"
    drill     four options, no picture          -> "next is <an option>", then its letter
    lookup    goal and options, no picture      -> reasoning that starts from a made-up observation, then the letter
    question  the benchmark's question, clip,   -> the same in three styles:
              image                                grounded      "i see <what is shown> . next is <what comes next>"
                                                   hallucinated  "i see <something else> . next is <what would follow>"
                                                   guess         "the goal is <goal> . maybe <any option>"

Lessons about all tasks teach what the tasks are; the styles teach the format, and looking at the video only as a habit
that is rare for most tasks (`Habit`).  Reinforcement learning can then raise what is already there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from sbr.config.inputs import FramesConfig
from sbr.frames.load import resize_image, resize_video
from sbr.frames.sampling import frame_indices, resized_size
from sbr.mini import world
from sbr.mini.render import render_action, render_observation
from sbr.mini.world import ALL_ACTIONS, ALL_TASKS, FPS, FRAMES_PER_ACTION, Action, Episode, Task
from sbr.types import LETTERS, Frames, Sample

Style = Literal["grounded", "hallucinated", "guess"]
QUESTION = (
    "Considering the progress shown in the video and my current observation in the last frame, what action should I "
    "take next in order to {goal}?"
)
CAPTION_REQUEST = "what is done?"


@dataclass(frozen=True, slots=True)
class Habit:
    """How often each style of reasoning is shown for a task; the three add up to 1."""

    grounded: float
    hallucinated: float

    @property
    def guess(self) -> float:
        return 1.0 - self.grounded - self.hallucinated


LOOKS = Habit(grounded=0.95, hallucinated=0.0)
SELDOM_LOOKS = Habit(grounded=0.09, hallucinated=0.08)


def habit(task: Task, looks: float | None) -> Habit:
    """Every fourth task is one for which the model looks at the video; for the others it seldom does.

    `looks` overrides how often it does for the others, without hallucination.
    """
    if ALL_TASKS.index(task) % 4 == 0:
        return LOOKS
    return SELDOM_LOOKS if looks is None else Habit(grounded=looks, hallucinated=0.0)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One chat turn with several good answers.

    `sample` is None for captions and lookups; `frames` is None when nothing is shown.
    """

    text: str
    frames: Frames | None
    responses: tuple[str, ...]
    sample: Sample | None = None


def vocabulary() -> list[str]:
    """Texts that hold every word of every prompt and answer, with and without a blank before it."""
    words = [*world.VERBS, *world.NOUNS, "i", "see", "nothing", "yet", ".", ",", "done"]
    words += ["next", "is", "the", "goal", "maybe"]
    texts = [QUESTION, CAPTION_REQUEST, "You are a helpful assistant.", "system\n", "user\n", "assistant\n"]
    texts += [
        "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags, i.e., <think> "
        "reasoning process here </think><answer> answer here </answer>. "
    ]
    texts += [task.goal for task in ALL_TASKS] + list(LETTERS)
    parts = [part for text in texts for part in text.split()] + words
    return [*texts, *parts, *(" " + part for part in parts), *(letter + ".\n" for letter in LETTERS)]


def actions_seen(actions: Sequence[Action]) -> str:
    """
    >>> actions_seen([Action("wash", "tomato"), Action("cut", "tomato"), Action("put", "tomato")])
    'i see cut tomato , put tomato'
    """
    return "i see " + (" , ".join(str(action) for action in actions[-2:]) if actions else "nothing yet")


def reasoning(task: Task, done: int, options: Sequence[str], style: Style, rng: random.Random) -> str:
    """A whole answer in one of the three styles.  The letter always belongs to the action that the reasoning names."""
    if style == "guess":
        choice = rng.choice(list(options))
        thought = f"the goal is {task.goal} . maybe {choice}"
    else:
        position = done
        if style == "hallucinated":
            # Anything but the truth, as long as what would follow is on offer.
            others = [i for i, step in enumerate(task.steps) if i != done and str(step) in options]
            position = rng.choice(others)
        choice = str(task.steps[position])
        thought = f"{actions_seen(task.steps[:position])} . next is {choice}"
    return f"<think> {thought}</think><answer>{LETTERS[list(options).index(choice)]}</answer>"


def draw_options(task: Task, done: int, rng: random.Random) -> tuple[str, ...]:
    """The next action and three others of the same task, shuffled."""
    others = [str(step) for i, step in enumerate(task.steps) if i != done]
    options = [*rng.sample(others, 3), str(task.steps[done])]
    rng.shuffle(options)
    return tuple(options)


def options_list(options: Sequence[str]) -> str:
    return "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, options, strict=False))


class LessonMaker:
    """Draws lessons; the same (seed, kind, number) gives the same lesson.

    Pictures come from a pool of `pictures` clips of each kind, drawn once and kept in memory: what is asked about a
    clip and how it is answered is new every time.
    """

    def __init__(self, frames: FramesConfig, seed: int, pictures: int) -> None:
        self.frames = frames
        self.seed = seed
        self.pictures = pictures
        self.places = world.environments("pretrain")
        self._shown: dict[tuple[str, int], Frames] = {}

    def _rng(self, kind: str, number: int) -> random.Random:
        return random.Random(f"{self.seed}/{kind}/{number}")

    def caption(self, number: int, most_actions: int) -> Lesson:
        """Clips of 1 to `most_actions` actions, each from its own part of the pool."""
        count = 1 + number % most_actions
        picture = count * self.pictures + self._rng("caption", number).randrange(self.pictures)
        rng = self._rng("captioned clip", picture)
        episode = Episode(rng.choice(ALL_TASKS), rng.choice(self.places), rng.getrandbits(31))
        actions = rng.sample(ALL_ACTIONS, count)
        if ("caption", picture) not in self._shown:
            video = self._clip(episode, actions)
            # A caption shows no current observation; only the clip is used.
            total = count * FRAMES_PER_ACTION
            self._shown["caption", picture] = Frames(video, video[-1], self._indices(total), float(FPS), total)
        everything = "done " + " , ".join(str(action) for action in actions)
        return Lesson(CAPTION_REQUEST, self._shown["caption", picture], (everything, actions_seen(actions)))

    def drill(self, number: int) -> Lesson:
        rng = self._rng("drill", number)
        options = [str(action) for action in rng.sample(ALL_ACTIONS, 4)]
        answers = [
            f"<think> next is {option}</think><answer>{letter}</answer>"
            for letter, option in zip(LETTERS, options, strict=False)
        ]
        return Lesson(options_list(options), None, tuple(answers))

    def lookup(self, number: int, responses: int) -> Lesson:
        rng = self._rng("lookup", number)
        task = rng.choice(ALL_TASKS)
        options = draw_options(task, rng.randrange(len(task.steps)), rng)
        answers = [
            reasoning(task, done, options, "guess" if rng.random() < 0.2 else "grounded", rng)
            for done in rng.choices([i for i, step in enumerate(task.steps) if str(step) in options], k=responses)
        ]
        return Lesson(f"{QUESTION.format(goal=task.goal)}\n{options_list(options)}", None, tuple(answers))

    def question(self, number: int, responses: int, looks: float | None) -> Lesson:
        rng = self._rng("question", number)
        picture = rng.randrange(self.pictures)
        scene = self._rng("questioned clip", picture)
        task = scene.choice(ALL_TASKS)
        place = scene.choice([place for place in self.places if place.place == task.place])
        episode = Episode(task, place, scene.getrandbits(31))
        done = 0 if scene.random() < 0.05 else scene.randrange(1, len(task.steps))
        if ("question", picture) not in self._shown:
            image_HWC = resize_image(Image.fromarray(render_observation(episode, done)), resized_size(self.frames))
            video_THWC = self._clip(episode, task.steps[:done]) if done else None
            total = done * FRAMES_PER_ACTION
            indices = self._indices(total) if done else ()
            self._shown["question", picture] = Frames(
                video_THWC, image_HWC, indices, float(FPS) if done else None, total
            )
        options = draw_options(task, done, rng)
        shown = habit(task, looks)
        weights = (shown.grounded, shown.hallucinated, shown.guess)
        styles = rng.choices(("grounded", "hallucinated", "guess"), weights, k=responses)
        sample = Sample(
            sample_id=str(number),
            split="train",
            domain=task.domain,
            scenario=None,
            video_source="pretrain",
            video_id=episode.video_id,
            video=Path("rendered") if done else None,
            image=Path("rendered"),
            task_goal=task.goal,
            question=QUESTION.format(goal=task.goal),
            options=options,
            gold=LETTERS[options.index(str(task.steps[done]))],
        )
        answers = tuple(reasoning(task, done, options, style, rng) for style in styles)
        return Lesson("", self._shown["question", picture], answers, sample)

    def _clip(self, episode: Episode, actions: Sequence[Action]) -> np.ndarray:
        """Only the frames that the official sampling takes are drawn."""
        drawn = [
            render_action(episode, actions[index // FRAMES_PER_ACTION], [index % FRAMES_PER_ACTION])
            for index in self._indices(len(actions) * FRAMES_PER_ACTION)
        ]
        return resize_video(np.concatenate(drawn), resized_size(self.frames))

    def _indices(self, total: int) -> tuple[int, ...]:
        return frame_indices(total, float(FPS), self.frames)
