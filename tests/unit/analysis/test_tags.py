"""Every tag: when it is given, and the nearest case in which it is not."""

from dataclasses import replace

import pytest
from report_runs import answered, sample_of

from sbr.analysis import tags
from sbr.analysis.tags import TAGS, tags_of
from sbr.types import ProgressStep

SAMPLE = sample_of(0, gold="B")  # open tap, close tap, take cup, put cup
PROGRESS = (ProgressStep("open drawer", 0, 7), ProgressStep("take cup", 8, 15))
SAID = "<think>{}</think><answer>{}</answer>"


def say(reasoning: str, letter: str, **values):
    return answered(SAMPLE, SAID.format(reasoning, letter), **values)


RIGHT, WRONG = say("so close tap", "B"), say("so open tap", "A")


@pytest.mark.parametrize(
    ("record", "before", "found"),
    [
        (RIGHT, None, ()),
        (RIGHT, RIGHT, ()),
        (WRONG, WRONG, ()),
        (RIGHT, WRONG, (tags.FIXED,)),
        (WRONG, RIGHT, (tags.BROKEN,)),
    ],
)
def test_fixed_and_broken_against_the_model_before(record, before, found):
    assert tags_of(record, before) == found


def test_a_reasoning_that_ends_at_another_option():
    assert tags_of(say("next is take cup", "A")) == (tags.CONTRADICTS,)
    assert tags_of(say("next is take cup", "B")) == (tags.CONTRADICTS, tags.RIGHT_AGAINST)
    assert tags_of(say("take cup? no . close tap", "B")) == ()


def test_an_option_seen_before_a_conclusion_that_names_none_is_no_conclusion():
    found = tags_of(say("i see take cup . next is close paint", "B"))
    assert found == (tags.CONTRADICTS, tags.NO_OPTION_LAST)
    assert tags_of(say("close tap . that is it", "B")) == (tags.NO_OPTION_LAST,)


def test_an_answer_that_was_not_read_contradicts_nothing():
    assert tags_of(say("next is take cup", "?")) == (tags.NO_ANSWER,)


def test_a_choice_of_what_was_done_before():
    assert tags.DONE_BEFORE in tags_of(say("take cup", "C"), progress=PROGRESS)
    assert tags.DONE_BEFORE in tags_of(say("take cup", "C"), progress=(ProgressStep("Picks up cups", 0, 7),))
    assert tags.DONE_BEFORE not in tags_of(say("put cup", "D"), progress=PROGRESS)
    assert tags.DONE_BEFORE not in tags_of(say("take cup", "C"))  # nothing is known of what was done
    right = replace(say("take cup", "C"), gold="C", correct=True)
    assert tags_of(right, progress=PROGRESS) == ()


def test_the_last_step_that_a_wrong_answer_does_not_name():
    assert tags_of(say("i see open drawer . open tap", "A"), progress=PROGRESS) == (tags.NOT_NAMED,)
    assert tags_of(say("the cup was taken . open tap", "A"), progress=PROGRESS) == ()
    assert tags_of(say("i see open drawer . close tap", "B"), progress=PROGRESS) == ()  # right
    assert tags_of(say("i see open drawer . open tap", "A")) == ()


def test_without_a_whole_reasoning_nothing_can_be_left_out_of_it():
    assert tags_of(say("", "A"), progress=PROGRESS) == (tags.LETTERS_ONLY,)
    assert tags_of(say("i see", "A", truncated=True), progress=PROGRESS) == (tags.NO_OPTION_LAST, tags.CUT_OFF)


def test_the_form_of_an_answer():
    cut = answered(SAMPLE, "<think>i see open drawer", truncated=True)
    assert tags_of(cut) == (tags.CUT_OFF, tags.NO_ANSWER)
    assert tags_of(say("A", "A")) == (tags.LETTERS_ONLY,)
    assert tags_of(say("The answer is B.", "B")) == (tags.LETTERS_ONLY,)
    assert tags_of(answered(SAMPLE, "")) == (tags.LETTERS_ONLY, tags.NO_ANSWER)


def test_tags_come_in_their_order():
    found = tags_of(say("i see open drawer . take cup", "B"), WRONG, PROGRESS)
    assert found == (tags.FIXED, tags.CONTRADICTS, tags.RIGHT_AGAINST)
    assert list(found) == sorted(found, key=TAGS.index)
