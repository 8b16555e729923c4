"""Lessons of the base model: every answer has the asked format, and its letter belongs to the action it names."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from sbr.config.inputs import FramesConfig
from sbr.config.section import Rule
from sbr.mini.corpus import LessonMaker, Style, actions_seen, draw_options, habit, reasoning
from sbr.mini.world import ALL_TASKS, TRAIN_TASKS, Action
from sbr.reward.answer import extract_answer
from sbr.reward.format import format_reward

FRAMES = FramesConfig(height=56, width=56)


@pytest.fixture(scope="module")
def maker() -> LessonMaker:
    return LessonMaker(FRAMES, seed=3, pictures=4)


@pytest.mark.parametrize("style", ["grounded", "hallucinated", "guess"])
@pytest.mark.parametrize("rule", ["official", "care", "strict"])
def test_letter_belongs_to_the_named_action(style: Style, rule: Rule) -> None:
    rng = random.Random(0)
    for task in ALL_TASKS:
        done = rng.randrange(len(task.steps))
        options = draw_options(task, done, rng)
        text = reasoning(task, done, options, style, rng)
        assert format_reward(text) == 1.0
        letter = extract_answer(text, options, rule).letter
        named = re.search(r"(?:next is|maybe) (.+)</think>", text)
        assert letter is not None
        assert named is not None
        assert options["ABCD".index(letter)] == named.group(1)
        if style == "grounded":
            assert named.group(1) == str(task.steps[done])
            assert text.startswith(f"<think> {actions_seen(task.steps[:done])} .")
        if style == "hallucinated":
            assert named.group(1) != str(task.steps[done])


def test_options_hold_the_answer_and_no_action_twice() -> None:
    rng = random.Random(1)
    places = set()
    for _ in range(200):
        task = rng.choice(ALL_TASKS)
        done = rng.randrange(len(task.steps))
        options = draw_options(task, done, rng)
        assert len(set(options)) == 4
        assert set(options) <= {str(step) for step in task.steps}
        places.add(options.index(str(task.steps[done])))
    assert places == {0, 1, 2, 3}


def test_what_is_seen_is_the_last_two_actions() -> None:
    steps = [Action("wash", "cup"), Action("cut", "fish"), Action("put", "fish")]
    assert actions_seen(steps) == "i see cut fish , put fish"
    assert actions_seen(steps[:1]) == "i see wash cup"
    assert actions_seen([]) == "i see nothing yet"


def test_habits_are_shares_and_some_tasks_of_every_level_look() -> None:
    for task in ALL_TASKS:
        for looks in (None, 0.0, 0.5):
            shares = habit(task, looks)
            assert shares.grounded + shares.hallucinated + shares.guess == pytest.approx(1)
            assert min(shares.grounded, shares.hallucinated, shares.guess) >= 0
    assert 0 < sum(habit(task, None).grounded > 0.5 for task in TRAIN_TASKS) < len(TRAIN_TASKS)


def test_same_number_same_lesson(maker: LessonMaker) -> None:
    again = LessonMaker(FRAMES, seed=3, pictures=4)
    for number in (0, 5, 11):
        one, two = maker.question(number, 3, None), again.question(number, 3, None)
        assert one.responses == two.responses
        assert one.sample == two.sample
        assert one.frames is not None
        assert two.frames is not None
        assert np.array_equal(one.frames.image_HWC, two.frames.image_HWC)
    assert len({maker.question(number, 3, None).responses for number in range(12)}) > 4


def test_questions_have_a_video_unless_nothing_was_done(maker: LessonMaker) -> None:
    many = LessonMaker(FRAMES, seed=0, pictures=60)
    lessons = [many.question(number, 1, None) for number in range(60)]
    without = [lesson for lesson in lessons if lesson.frames is not None and lesson.frames.video_THWC is None]
    assert without
    assert len(without) < 15
    for lesson in lessons:
        assert lesson.sample is not None
        assert lesson.frames is not None
        assert (lesson.sample.video is None) == (lesson.frames.video_THWC is None)
        if lesson.frames.video_THWC is not None:
            assert lesson.frames.video_THWC.shape[1:] == (56, 56, 3)
            assert lesson.frames.video_THWC.shape[0] % 2 == 0


def test_drills_answer_every_option(maker: LessonMaker) -> None:
    lesson = maker.drill(0)
    listed = dict(re.findall(r"([A-D])\. (.+)\n", lesson.text))
    answers = [re.search(r"next is (.+)</think><answer>([A-D])", text) for text in lesson.responses]
    assert {match.group(2): match.group(1) for match in answers if match} == listed
    assert len(listed) == 4
