"""Which questions the miniature asks."""

from __future__ import annotations

from collections import Counter

import pytest

from sbr.config.inputs import FramesConfig
from sbr.frames.sampling import frame_indices
from sbr.mini.questions import SPLITS, Question, Split, plan, training_row, validation_row
from sbr.mini.world import FPS, FRAMES_PER_ACTION, L3_TASKS, TRAIN_TASKS

COUNT = 400
LEVELS: tuple[Split, ...] = ("L1", "L2", "L3")
QUESTIONS: dict[Split, list[Question]] = {split: plan(split, COUNT, seed=3) for split in SPLITS}


def goals(split: Split) -> set[str]:
    return {question.episode.task.goal for question in QUESTIONS[split]}


def places(split: Split) -> set[str]:
    return {question.episode.environment.env_id for question in QUESTIONS[split]}


def test_levels_generalise_as_the_benchmark_says() -> None:
    assert goals("L1") == goals("L2") == goals("train") == {task.goal for task in TRAIN_TASKS}
    assert goals("L3") == {task.goal for task in L3_TASKS} and not goals("L3") & goals("train")
    assert places("L1") == places("train") and len(places("train")) == 4
    assert not places("L2") & places("train") and not places("L3") & (places("L2") | places("train"))
    assert all(len(places(split)) == 12 for split in ("L2", "L3"))


def test_l2_asks_what_l1_asks_elsewhere() -> None:
    for seen, unseen in zip(QUESTIONS["L1"], QUESTIONS["L2"], strict=True):
        assert (seen.episode.task, seen.done, seen.letter) == (unseen.episode.task, unseen.done, unseen.letter)
        one, other = validation_row(seen, seed=3), validation_row(unseen, seed=3)
        assert one.choices == other.choices and one.video_id != other.video_id


def test_a_late_camera_of_l2_keeps_the_last_two_actions() -> None:
    late = [question for question in QUESTIONS["L2"] if question.first]
    long = [question for question in QUESTIONS["L2"] if question.done > 2]
    # A start is drawn evenly from 0 to done - 2.
    expected = sum(1 - 1 / (question.done - 1) for question in long)
    assert abs(len(late) - expected) < 3 * (sum(1 / (q.done - 1) for q in long) ** 0.5)
    assert all(question.done - question.first >= 2 for question in late)
    assert not any(question.first for split in ("train", "L1", "L3") for question in QUESTIONS[split])
    question = late[0]
    row, steps = validation_row(question, seed=3), question.episode.task.steps
    told = [step.narration_text for step in row.task_progress_metadata]
    assert told == [str(step) for step in steps[question.first : question.done]]
    assert row.current_observation_frame == 8 * len(told) and row.task_progress_metadata[0].start_frame == 0


def test_each_part_of_the_shift_can_be_left_out() -> None:
    plans = {name: plan("L2", COUNT, 3, frozenset(name)) for name in ((), ("camera",), ("belongings",))}
    both, nothing = QUESTIONS["L2"], plans[()]
    assert {q.episode.environment.household for q in both} == set(range(1, 13))
    assert {q.episode.environment.household for q in [*nothing, *plans[("camera",)]]} == {0}
    assert [q.first for q in plans[("camera",)]] == [q.first for q in both]
    assert not any(q.first for q in [*nothing, *plans[("belongings",)]])
    assert [q.episode for q in plans[("belongings",)]] == [q.episode for q in both]
    assert [q.episode.video_id for q in nothing] == [q.episode.video_id for q in both]
    assert plan("L1", COUNT, 3, frozenset()) == QUESTIONS["L1"]


def test_no_recording_is_shared() -> None:
    seeds = [question.episode.seed for split in SPLITS for question in QUESTIONS[split]]
    videos = [question.episode.video_id for split in SPLITS for question in QUESTIONS[split]]
    assert len(set(seeds)) == len(set(videos)) == len(SPLITS) * COUNT


def test_l3_is_balanced_over_domains_and_takes_place_where_the_task_belongs() -> None:
    domains = Counter(question.episode.task.domain for question in QUESTIONS["L3"])
    assert domains == {"Daily life": 100, "Hobbies": 100, "Recreation": 100, "Work": 100}
    assert all(q.episode.environment.place == q.episode.task.place for split in SPLITS for q in QUESTIONS[split])


@pytest.mark.parametrize("split", LEVELS)
def test_golden_letters_are_balanced(split: Split) -> None:
    rows = [validation_row(question, seed=3) for question in QUESTIONS[split]]
    assert Counter(row.golden_choice_idx for row in rows) == dict.fromkeys("ABCD", COUNT // 4)


@pytest.mark.parametrize("split", LEVELS)
def test_validation_options_are_four_actions_of_the_task_with_the_next_one_at_the_golden_letter(split: Split) -> None:
    for question in QUESTIONS[split]:
        row = validation_row(question, seed=3)
        steps = [str(step) for step in question.episode.task.steps]
        assert len(set(row.choices)) == 4 and set(row.choices) <= set(steps)
        assert row.choices["ABCD".index(row.golden_choice_idx)] == row.answer == steps[question.done]


def test_negatives_include_actions_already_done() -> None:
    rows = [validation_row(question, seed=3) for question in QUESTIONS["L1"]]
    done = [{step.narration_text for step in row.task_progress_metadata} & set(row.choices) for row in rows]
    assert any(done) and not all(done)


def test_training_negatives_are_all_other_actions_of_the_task() -> None:
    for question in QUESTIONS["train"]:
        row = training_row(question)
        assert sorted([*row.negative_answers, row.answer]) == sorted(str(s) for s in question.episode.task.steps)


def test_progress_tells_the_actions_done_with_their_frames() -> None:
    question = next(question for question in QUESTIONS["train"] if question.done == 2)
    row = training_row(question)
    one, two = question.episode.task.steps[:2]
    told = [(step.narration_text, step.start_frame, step.stop_frame) for step in row.task_progress_metadata]
    assert told == [(str(one), 0, 7), (str(two), 8, 15)]
    assert row.current_observation_frame == 16
    assert row.video_basename == f"{row.video_id}_2.mp4" and row.current_observation_basename == f"{row.video_id}_2.png"


@pytest.mark.parametrize("split", SPLITS)
def test_one_row_of_twenty_has_no_video(split: Split) -> None:
    first = [question for question in QUESTIONS[split] if question.done == 0]
    assert len(first) == COUNT // 20
    for question in first:
        row = training_row(question)
        assert row.task_progress_metadata == () and row.video_basename is None
        assert row.answer == str(question.episode.task.steps[0])


def test_every_later_moment_is_asked_about() -> None:
    for task in TRAIN_TASKS:
        asked = {q.done for q in QUESTIONS["train"] + QUESTIONS["L1"] if q.episode.task == task}
        assert asked >= set(range(1, len(task.steps)))


def test_the_question_is_the_official_sentence_with_the_goal() -> None:
    row = validation_row(QUESTIONS["L2"][0], seed=3)
    assert row.question == (
        "Considering the progress shown in the video and my current observation in the last frame, what action should "
        f"I take next in order to {row.task_goal}?"
    )


def test_only_l3_rows_have_the_fields_of_egoplan_bench2() -> None:
    for split in LEVELS:
        row = validation_row(QUESTIONS[split][0], seed=3)
        task = QUESTIONS[split][0].episode.task
        wanted = (task.domain, task.place, 0) if split == "L3" else (None, None, None)
        assert (row.domain, row.scenario, row.task_start_frame) == wanted
        assert row.video_source == ("EpicKitchens" if split == "L1" else "Ego4D")


def test_a_larger_build_begins_with_the_smaller_one_and_another_seed_is_another_build() -> None:
    assert plan("L3", 30, seed=3) == QUESTIONS["L3"][:30]
    other = plan("L3", 30, seed=4)
    assert not {q.episode.video_id for q in other} & {q.episode.video_id for q in QUESTIONS["L3"]}
    assert [(q.episode.task, q.done) for q in other] != [(q.episode.task, q.done) for q in QUESTIONS["L3"][:30]]


@pytest.mark.parametrize("done", range(2, 8))
def test_the_official_sampling_takes_one_frame_of_each_half_of_each_action(done: int) -> None:
    taken = frame_indices(done * FRAMES_PER_ACTION, FPS, FramesConfig())
    half = FRAMES_PER_ACTION // 2
    assert [index // half for index in taken] == list(range(2 * done))


def test_too_many_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="1000001 questions of L1"):
        plan("L1", 1_000_001, seed=0)
