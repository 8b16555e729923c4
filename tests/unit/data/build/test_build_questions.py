"""Questions from tasks: EgoPlan-Bench's published example, every reason to leave one out, and what always holds."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from build_sources import task_row, write_tasks
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.data.build.action_files import read_annotations
from sbr.data.build.actions import Action, Annotations, Task
from sbr.data.build.goals import GoalSegment, add_goals
from sbr.data.build.meaning import meaning_of
from sbr.data.build.questions import Built, BuiltQuestion, NotOffered, Reason, build_questions

REAL = Path(__file__).resolve().parents[5] / "shared" / "reference" / "annotations"
EXTRA = [("wash plate", 900, 950), ("cut bread", 950, 990), ("pour milk", 990, 1030), ("stir soup", 1030, 1080)]
"""Far away actions of the same video that can be offered."""


def actions_of(steps: list[tuple[str, int, int]]) -> tuple[Action, ...]:
    made = [Action(text, start, stop, None, None, (meaning_of(text),)) for text, start, stop in steps]
    return tuple(sorted(made, key=lambda action: action.order))


def built(
    steps: list[tuple[str, int, int]],
    extra: list[tuple[str, int, int]] = EXTRA,
    empty_progress: bool = False,
    negatives: int = 8,
) -> Built:
    """One task over `steps` in a video that also has `extra`."""
    annotations = Annotations(
        "Ego4D", {"v": actions_of(steps + extra)}, (Task("v", "make tea.", actions_of(steps)),), {"v": "v"}
    )
    return build_questions(annotations, empty_progress, negatives)


def only(result: Built) -> BuiltQuestion:
    (question,) = result.questions
    return question


STEPS = [("take cup", 10, 40), ("open tap", 45, 80), ("fill cup", 100, 160)]


def test_what_a_question_holds() -> None:
    result = built(STEPS)
    assert result.tried == 3 and dict(result.dropped) == {Reason.EMPTY_PROGRESS: 1}
    second, third = result.questions
    assert (second.answer, second.current_frame, second.first_frame) == ("open tap", 40, 10)
    assert (third.answer, third.current_frame) == ("fill cup", 80)
    assert [(s.narration_text, s.start_frame, s.stop_frame) for s in third.progress] == STEPS[:2]
    assert third.question == (
        "Considering the progress shown in the video and my current observation in the last frame, "
        "what action should I take next in order to make tea?"
    )
    # Of the same task first, nearest first; then the others of the video; never what comes right after.
    assert third.negatives == ("open tap", "take cup", "cut bread", "pour milk", "stir soup")
    assert second.negatives == ("take cup", "wash plate", "cut bread", "pour milk", "stir soup")
    assert third.sample_id.startswith("v_80_") and third.sample_id != second.sample_id


def test_nothing_before_is_asked_on_request() -> None:
    first = built(STEPS, empty_progress=True).questions[0]
    assert (first.answer, first.progress, first.current_frame, first.first_frame) == ("take cup", (), 10, 10)


def test_a_small_overlap_is_cut_at_the_right_action() -> None:
    question = only(built([("take cup", 10, 60), ("open tap", 50, 90)]))
    assert question.current_frame == 50 and question.progress[0].stop_frame == 50


def test_the_longest_step_ends_the_progress() -> None:
    """EgoPlan's own training example has steps that overlap: the observation is the end of what ends last."""
    question = built([("take cup", 10, 30), ("open tap", 12, 45), ("pour tea", 60, 90)], EXTRA).questions[-1]
    assert question.answer == "pour tea" and question.current_frame == 45


CASES: list[tuple[Reason, list[tuple[str, int, int]], list[tuple[str, int, int]]]] = [
    (Reason.EMPTY_NARRATION, [("take cup", 10, 40), ("", 45, 80)], EXTRA),
    (Reason.UNSURE, [("take cup", 10, 40), ("open #unsure", 45, 80)], EXTRA),
    (Reason.OTHER_PERSON, [("take cup", 10, 40), ("A man x opens tap", 45, 80)], EXTRA),
    (Reason.STILL_GOING, [("take cup", 10, 70), ("open tap", 45, 80)], EXTRA),
    (Reason.STILL_GOING, [("take cup", 45, 45), ("open tap", 45, 80)], EXTRA),
    (Reason.NOT_NEXT, [("take cup", 10, 40), ("open tap", 100, 120)], [*EXTRA, ("close drawer", 50, 90)]),
    (Reason.SAME_AS_LAST, [("stir tea", 10, 40), ("continues stirring the tea", 45, 80)], EXTRA),
    (Reason.GOAL_SAYS_IT, [("take cup", 10, 40), ("makes the tea", 45, 80)], EXTRA),
    (Reason.SHORT_CLIP, [("take cup", 10, 12), ("open tap", 45, 80)], EXTRA),
    (Reason.FEW_NEGATIVES, [("take cup", 10, 40), ("open tap", 45, 80)], EXTRA[:2]),
    (Reason.FEW_NEGATIVES, [("take cup", 10, 40), ("open tap", 45, 80)], [*EXTRA[:2], ("washes the plates", 990, 995)]),
]


@pytest.mark.parametrize(("reason", "steps", "extra"), CASES)
def test_reasons(reason: Reason, steps: list[tuple[str, int, int]], extra: list[tuple[str, int, int]]) -> None:
    result = built(steps, extra)
    assert result.questions == () and dict(result.dropped) == {Reason.EMPTY_PROGRESS: 1, reason: 1}


def test_a_question_is_asked_once() -> None:
    steps = actions_of(STEPS)
    tasks = (Task("v", "make tea", steps), Task("v", "Make  tea", steps), Task("v", "wash up", steps))
    result = build_questions(Annotations("Ego4D", {"v": actions_of(STEPS + EXTRA)}, tasks, {"v": "v"}), False, 8)
    assert len(result.questions) == 4 and result.dropped[Reason.REPEATED] == 2
    assert len({q.sample_id for q in result.questions}) == 4


@pytest.mark.parametrize(
    ("text", "start", "stop", "why"),
    [
        ("puts down the cup", 500, 510, NotOffered.LIKE_ANSWER),  # "put cup" is the answer
        ("open lid", 500, 510, NotOffered.ALSO_TRUE),  # happens at the same time at 50-90
        ("close door", 500, 510, NotOffered.ALSO_TRUE),  # comes right after
        ("wash the plates", 2000, 2010, NotOffered.LIKE_OTHER),
        ("A man y sings", 500, 510, NotOffered.UNUSABLE),
    ],
)
def test_wrong_actions_that_are_not_offered(text: str, start: int, stop: int, why: NotOffered) -> None:
    base = [*EXTRA, ("open lid", 55, 88), ("close door", 95, 120)]
    steps = [("take spoon", 10, 40), ("put cup", 50, 90)]
    without, result = built(steps, base), built(steps, [*base, (text, start, stop)])
    question = only(result)
    assert text not in question.negatives and set(question.negatives) <= set(only(without).negatives) | {text}
    assert result.not_offered[why] == without.not_offered.get(why, 0) + 1
    assert "open lid" not in question.negatives and "close door" not in question.negatives


# --- the published example -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "EPIC_100_validation.csv").exists(), reason="EPIC annotations are not at hand")
def test_the_published_example_of_egoplan_comes_out() -> None:
    """P01_13, "store cereal": the record that EgoPlan-Bench's authors show, from EPIC-KITCHENS' own annotations."""
    (published,) = json.loads((REAL / "egoplan_readme_example.json").read_text())
    annotations = read_annotations([REAL / "EPIC_100_validation.csv"])
    added = add_goals(annotations, [GoalSegment("P01_13", "store cereal", 36, 1000)]).annotations
    questions = build_questions(added, False, 8).questions
    (ours,) = (q for q in questions if q.answer == published["answer"])
    assert ours.question == published["question"] and ours.goal == published["task_goal"]
    assert ours.current_frame == published["current_observation_frame"]
    progress = [(s.narration_text, s.start_frame, s.stop_frame) for s in ours.progress]
    assert progress == [tuple(step.values()) for step in published["task_progress_metadata"]]
    wrong = {published[f"choice_{letter}"] for letter in "bcd"}
    assert wrong <= set(ours.negatives)


# --- properties, against the raw rows ------------------------------------------------------------------------------

WORDS = [
    "take cup",
    "put cup",
    "puts the cups",
    "open tap",
    "close tap",
    "wash plate",
    "stir soup",
    "cut bread",
    "pour milk",
]
VIDEO = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=14)


def rows_of(video: str, drawn: list[tuple[str, int, int]], cuts: list[int]) -> list[dict[str, Any]]:
    """Actions whose gaps and lengths were drawn, and tasks over two stretches of them."""
    steps, at = [], 0
    for text, gap, length in drawn:
        at += gap
        steps.append((text, at, at + length))
    begin, end = sorted(cuts)
    return [task_row(video, "first goal", steps[: end + 1]), task_row(video, "second goal", steps[begin:])]


@settings(max_examples=60, deadline=None)
@given(st.lists(VIDEO, min_size=1, max_size=3), st.integers(0, 14), st.integers(0, 14), st.randoms(), st.booleans())
def test_what_always_holds(
    tmp_path_factory: pytest.TempPathFactory,
    videos: list[list[tuple[str, int, int]]],
    one: int,
    two: int,
    rng: random.Random,
    empty: bool,
) -> None:
    rows = [row for i, drawn in enumerate(videos) for row in rows_of(f"v{i}", drawn, [one, two])]
    folder = tmp_path_factory.mktemp("rows")
    result = build_questions(read_annotations([write_tasks(folder / "a.jsonl", rows)]), empty, 5)
    assert result.tried == len(result.questions) + sum(result.dropped.values())
    rng.shuffle(rows)
    assert build_questions(read_annotations([write_tasks(folder / "b.jsonl", rows)]), empty, 5) == result
    for question in result.questions:
        steps = {
            (s["narration_text"], s["start_frame"], s["stop_frame"])
            for row in rows
            if row["video_uid"] == question.video_id
            for s in row["task_progress_metadata"]
        }
        assert 3 <= len(question.negatives) <= 5
        assert set(question.negatives) <= {text for text, _, _ in steps}
        options = [meaning_of(text) for text in (question.answer, *question.negatives)]
        assert not any(a.same(b) for i, a in enumerate(options) for b in options[:i])
        assert all(s.stop_frame <= question.current_frame for s in question.progress)
        # The answer begins at or after the observation, and nothing else of the video begins between the two and lasts.
        answers = [s for s in steps if s[0] == question.answer and s[1] >= question.current_frame]
        assert answers
        start, stop = min(s[1:] for s in answers)
        known = {(s.narration_text, s.start_frame) for s in question.progress}
        for text, begin, end in steps:
            if question.progress and question.current_frame <= begin < start and (text, begin) not in known:
                assert min(end, stop) - start > min(end - begin, stop - start) / 2
        assert bool(question.progress) or empty
        if question.progress:
            assert question.current_frame - question.first_frame >= 3
            assert not meaning_of(question.progress[-1].narration_text).same(options[0])


def test_counts_add_up_on_many_actions() -> None:
    rng = random.Random(0)
    steps = [(rng.choice(WORDS), 20 * i, 20 * i + rng.randint(0, 30)) for i in range(200)]
    result = built(steps, [])
    assert result.tried == 200 == len(result.questions) + sum(result.dropped.values())
    assert Counter(len(q.negatives) for q in result.questions)[0] == 0
