"""Accuracy, format, their weighted sum, and the flags of collapse."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.config.training import RewardConfig
from sbr.reward.accuracy import accuracy_reward
from sbr.reward.format import format_reward
from sbr.reward.health import Health, health, reasoning_text
from sbr.reward.length import length_reward
from sbr.reward.noise import rewarded_gold
from sbr.reward.score import score
from sbr.types import Answer, Sample

GOLDEN_NOISE = "DCDBAACBBADBBDBBCBCC"

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


def test_every_part_has_its_weight():
    config = RewardConfig(
        accuracy_weight=2.0, format_weight=0.25, consistency_weight=0.5, length_weight=3.0, length_share=0.5
    )
    found = score("<think>So close tap.</think><answer>B</answer>", SAMPLE, config, tokens=60, limit=80)
    assert (found.accuracy, found.format, found.consistency, found.length) == (1.0, 1.0, 1.0, -0.5)
    assert found.reward == 2.0 + 0.25 + 0.5 - 1.5
    bad = score("<think>So close tap.</think><answer>A</answer>", SAMPLE, config, tokens=20, limit=80)
    assert (bad.reward, bad.consistency, bad.length) == (0.25, 0.0, 0.0)
    assert bad.consistency_reason == "the reasoning names B, the answer is A"
    with pytest.raises(ValueError, match="needs the tokens"):
        score("x", SAMPLE, config)


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (16384, 0.0), (18432, -0.5), (20479, -4095 / 4096), (20480, -1.0), (30000, -1.0)]
)
def test_length_reward_with_the_numbers_of_dapo(tokens, expected):
    assert length_reward(tokens, limit=20480, share=0.2) == pytest.approx(expected, abs=1e-12)


def test_noise_flips_the_stated_share_to_other_letters_and_always_the_same():
    samples = [replace(SAMPLE, sample_id=str(number)) for number in range(10_000)]
    flipped = {}
    for share in (0.0, 0.1, 0.4, 1.0):
        letters = {sample.sample_id: rewarded_gold(sample, share, seed=0) for sample in samples}
        flipped[share] = {name: letter for name, letter in letters.items() if letter != "B"}
        assert abs(len(flipped[share]) / 10_000 - share) <= 4 * (share * (1 - share) / 10_000) ** 0.5
    counts = Counter(flipped[0.4].values())
    assert set(counts) == {"A", "C", "D"}
    assert min(counts.values()) > 4000 / 3 - 4 * (4000 * 2 / 9) ** 0.5
    assert flipped[0.1].items() <= flipped[0.4].items()  # more noise leaves the flipped ones as they are
    other = {sample.sample_id for sample in samples if rewarded_gold(sample, 0.1, seed=1) != "B"}
    assert len(other & flipped[0.1].keys()) < 200  # another seed: 1 % would be common by chance
    # Fixed for all machines and versions; computed once with hashlib.
    assert "".join(rewarded_gold(replace(SAMPLE, sample_id=str(n)), 0.4, seed=3) for n in range(20)) == GOLDEN_NOISE


def test_noise_changes_the_reward_and_not_the_accuracy():
    response = "<think>x</think><answer>B</answer>"
    found = score(response, SAMPLE, RewardConfig(noise=1.0))
    assert found.rewarded != "B"
    assert (found.reward, found.accuracy) == (0.0, 1.0)
    wrong = score(f"<think>x</think><answer>{found.rewarded}</answer>", SAMPLE, RewardConfig(noise=1.0))
    assert (wrong.reward, wrong.accuracy) == (1.0, 0.0)
    two = replace(SAMPLE, options=SAMPLE.options[:2])
    assert rewarded_gold(two, 1.0, seed=0) == "A"


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
