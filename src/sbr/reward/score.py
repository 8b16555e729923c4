"""From a response to its reward: the one scorer of training and evaluation."""

from __future__ import annotations

from sbr.config import RewardConfig
from sbr.reward.accuracy import accuracy_reward
from sbr.reward.answer import extract_answer
from sbr.reward.format import format_reward
from sbr.types import Sample, Score


def score(response: str, sample: Sample, config: RewardConfig) -> Score:
    """reward = accuracy_weight * accuracy + format_weight * format; both parts are 0 or 1.

    >>> from pathlib import Path
    >>> sample = Sample("115", "L1", "Daily life", None, "EpicKitchens", "P01_13", None, Path("a.png"), "store cereal",
    ...     "What next?", ("open tap", "close tap", "take cup", "put cup"), "B")
    >>> score("<think>it runs</think><answer>B. close tap</answer>", sample, RewardConfig(format_weight=0.5)).reward
    1.5
    """
    answer = extract_answer(response, sample.options, config.rule)
    accuracy = accuracy_reward(answer, sample.gold)
    format_ = format_reward(response)
    reward = config.accuracy_weight * accuracy + config.format_weight * format_
    return Score(reward=reward, accuracy=accuracy, format=format_, answer=answer)
