"""Rewards of the user's own: what they are given, how they count, and what is said when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_rewards import SAMPLE

from sbr.config.named import load_named
from sbr.config.training import RewardConfig
from sbr.errors import ConfigError
from sbr.reward.custom import check_custom
from sbr.reward.score import score

RIGHT = "<think>x</think><answer>B</answer>"
OWN = """
def letters(text, sample, tokens):
    return len(text)

def mine(text, sample, tokens):
    return tokens + (sample.gold == "B")

def broken(text, sample, tokens):
    return sample.nothing

def endless(text, sample, tokens):
    return float("inf")
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)
    load_named.cache_clear()
    (tmp_path / "own_rewards.py").write_text(OWN)


def test_own_parts_count_with_their_weights_and_are_kept():
    config = RewardConfig(custom={"own_rewards:letters": -0.5, "own_rewards:mine": 2.0})
    found = score(RIGHT, SAMPLE, config, tokens=7, limit=20)
    assert found.custom == (("own_rewards:letters", float(len(RIGHT))), ("own_rewards:mine", 8.0))
    assert found.reward == 1.0 - 0.5 * len(RIGHT) + 2.0 * 8.0
    assert score(RIGHT, SAMPLE, RewardConfig(), tokens=7, limit=20).custom == ()


def test_own_parts_see_the_letter_that_earns():
    noisy = RewardConfig(custom={"own_rewards:mine": 1.0}, noise=1.0)
    assert score(RIGHT, SAMPLE, noisy, tokens=7, limit=20).custom == (("own_rewards:mine", 7.0),)


@pytest.mark.parametrize(("name", "words"), [("broken", "AttributeError"), ("endless", "it gave 'inf'")])
def test_a_part_that_fails_ends_with_its_name(name, words):
    config = RewardConfig(custom={f"own_rewards:{name}": 1.0})
    with pytest.raises(ConfigError, match=rf"reward\.custom is 'own_rewards:{name}': .*{words}"):
        score(RIGHT, SAMPLE, config, tokens=7, limit=20)


def test_a_missing_part_is_found_before_the_start():
    with pytest.raises(ConfigError, match="no function 'lettres'"):
        check_custom({"own_rewards:lettres": 1.0})
    with pytest.raises(ValueError, match="tokens of a response"):
        score(RIGHT, SAMPLE, RewardConfig(custom={"own_rewards:mine": 1.0}))
