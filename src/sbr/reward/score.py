"""From a response to its reward: the one scorer of training and evaluation."""

from __future__ import annotations

from sbr.config.training import RewardConfig
from sbr.reward.accuracy import accuracy_reward
from sbr.reward.answer import extract_answer
from sbr.reward.consistency import consistency
from sbr.reward.custom import custom_parts
from sbr.reward.format import format_reward
from sbr.reward.length import length_reward
from sbr.reward.noise import rewarded_gold
from sbr.types import Sample, Score


def score(
    response: str, sample: Sample, config: RewardConfig, tokens: int | None = None, limit: int | None = None
) -> Score:
    """reward = sum of weight * part over accuracy, format, consistency, length and the user's own parts.

    `tokens` is the length of the response and `limit` the most it may have; without them the length part is 0.  With
    `reward.noise` the reward is that of the letter `Score.rewarded`; `Score.accuracy` always asks for the gold letter.

    Raises ValueError when the length is not given and the length part has a weight or there is a part of the user's
    own; ConfigError when such a part fails.

    >>> from pathlib import Path
    >>> sample = Sample("115", "L1", "Daily life", None, "EpicKitchens", "P01_13", None, Path("a.png"), "store cereal",
    ...     "What next?", ("open tap", "close tap", "take cup", "put cup"), "B")
    >>> score("<think>it runs</think><answer>B. close tap</answer>", sample, RewardConfig(format_weight=0.5)).reward
    1.5
    """
    answer = extract_answer(response, sample.options, config.rule)
    rewarded = rewarded_gold(sample, config.noise, config.noise_seed)
    format_ = format_reward(response)
    consistent = consistency(response, answer, sample.options)
    length = 0.0
    if tokens is not None and limit is not None:
        length = length_reward(tokens, limit, config.length_share)
    elif config.length_weight != 0:
        raise ValueError("reward.length_weight is not 0, so the scorer needs the tokens of a response and their limit")
    custom = custom_parts(response, sample, rewarded, tokens, config.custom)
    reward = (
        config.accuracy_weight * accuracy_reward(answer, rewarded)
        + config.format_weight * format_
        + config.consistency_weight * consistent.value
        + config.length_weight * length
        + sum(config.custom[name] * value for name, value in custom)
    )
    return Score(
        reward=reward,
        accuracy=accuracy_reward(answer, sample.gold),
        format=format_,
        answer=answer,
        rewarded=rewarded,
        consistency=consistent.value,
        consistency_reason=consistent.reason,
        length=length,
        custom=custom,
    )
