"""Accuracy, format, their weighted sum, and the flags of collapse."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.config import RewardConfig
from sbr.reward.accuracy import accuracy_reward
from sbr.reward.format import format_reward
from sbr.reward.health import Health, health, reasoning_text
from sbr.reward.score import score
from sbr.types import Answer, Sample

SAMPLE = Sample(
    sample_id="115",
    split="L1",
    domain="Daily life",
    scenario=None,
    video_source="EpicKitchens",
    video_id="P01_13",
    video=None,
    image=Path("a.png"),
    task_goal="store cereal",
    question="What next?",
    options=("open tap", "close tap", "take cup", "put cup"),
    gold="B",
)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>look</think><answer>A</answer>", 1.0),
        ("<think>look</think>\n\n <answer>A</answer>", 1.0),
        ("<think>several\nlines</think><answer>\nA\n</answer>", 1.0),
        ("<think></think><answer></answer>", 1.0),
        ("<think>look</think><answer>A</answer>\n", 0.0),
        (" <think>look</think><answer>A</answer>", 0.0),
        ("<think>look</think><answer>A</answer> sure", 0.0),
        ("<think>look</think> so <answer>A</answer>", 0.0),
        ("<answer>A</answer>", 0.0),
        ("<answer>A</answer><think>look</think>", 0.0),
        ("<think>look</think><answer>A", 0.0),
        ("<Think>look</Think><answer>A</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_reward_wants_the_whole_response(response, expected):
    assert format_reward(response) == expected


@pytest.mark.parametrize(("letter", "expected"), [("B", 1.0), ("A", 0.0), (None, 0.0)])
def test_accuracy_reward(letter, expected):
    assert accuracy_reward(Answer(letter, "official", "-"), "B") == expected


def test_default_reward_is_accuracy_alone_under_the_official_rule():
    right = score("<answer>Bottle</answer>", SAMPLE, RewardConfig())
    assert (right.reward, right.accuracy, right.format, right.answer.letter) == (1.0, 1.0, 0.0, "B")
    wrong = score("<think>x</think><answer>A</answer>", SAMPLE, RewardConfig())
    assert (wrong.reward, wrong.accuracy, wrong.format) == (0.0, 0.0, 1.0)


def test_reward_is_the_weighted_sum_and_follows_the_rule():
    config = RewardConfig(rule="care", accuracy_weight=2.0, format_weight=0.25)
    assert score("<think>x</think><answer>B</answer>", SAMPLE, config).reward == 2.25
    assert score("<think>x</think><answer>B.</answer>", SAMPLE, config).reward == 0.25
    assert score("B", SAMPLE, config).reward == 0.0


@pytest.mark.parametrize(
    ("response", "formatted", "echo"),
    [
        ("<think>A</think><answer>A</answer>", True, True),
        ("<think> (b). </think><answer>B</answer>", True, True),
        ("<think>The answer is **C**.</think><answer>C</answer>", True, True),
        ("<think></think><answer>A</answer>", True, True),
        ("<think>...</think><answer>A</answer>", True, True),
        ("<answer>A</answer>", False, True),
        ("A", False, True),
        ("", False, True),
        ("<think>A cup is on the table</think><answer>A</answer>", True, False),
        ("<think>open tap</think><answer>A</answer>", True, False),
        ("<think>\u6253\u5f00</think><answer>A</answer>", True, False),
        ("<think>I see a tap", False, False),
        ("I see a tap <answer>A</answer>", False, False),
        ("<think>F</think><answer>A</answer>", True, False),
    ],
)
def test_health_flags(response, formatted, echo):
    assert health(response) == Health(formatted, echo)


@pytest.mark.parametrize(
    ("response", "reasoning"),
    [
        ("<think> a b </think><answer>A</answer>", "a b"),
        ("<think>a b<answer>A</answer>", "a b"),
        ("<think>a b", "a b"),
        ("a b <answer>A</answer>", "a b"),
        ("a b", "a b"),
    ],
)
def test_reasoning_text(response, reasoning):
    assert reasoning_text(response) == reasoning


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "_", "A", "."])).map("".join)))
def test_health_never_raises(response):
    assert isinstance(health(response), Health)
