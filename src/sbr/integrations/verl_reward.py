"""The reward that verl calls.  `sbr export verl` writes it, with all it uses, into one file for
`reward.custom_reward_function.path`: verl's workers need not have this package (`sbr.integrations.standalone`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbr.config.section import Rule
from sbr.reward.accuracy import accuracy_reward
from sbr.reward.answer import extract_answer
from sbr.reward.consistency import consistency
from sbr.reward.format import format_reward
from sbr.reward.health import health
from sbr.types import LETTERS


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    rule: Rule = "official",
    format_weight: float = 0.0,
    consistency_weight: float = 0.0,
    **_: Any,
) -> dict[str, float | str]:
    """score = accuracy + format_weight * format + consistency_weight * consistency, and its parts.

    `ground_truth` is the letter of the right option, `extra_info["options"]` the texts of the options in order.
    `rule` and the weights are set by verl's `reward.custom_reward_function.reward_kwargs`.  "acc" is what verl reports
    as the accuracy of a validation, "pred" what its majority vote counts; no answer is "".

    Raises ValueError for a row without options, a letter that is not offered, or an unknown rule.
    """
    options = None if extra_info is None else extra_info.get("options")
    if options is None:
        raise ValueError(f"a row of {data_source!r} has no extra_info.options, the texts of its options in order")
    offered = tuple(str(option) for option in options)
    if ground_truth not in list(LETTERS[: len(offered)]):
        raise ValueError(f"the ground truth of a row of {data_source!r} is {ground_truth!r}, not one of its options")
    if rule not in ("official", "care", "strict"):
        raise ValueError(f"the rule is {rule!r}, expected official, care or strict")
    answer = extract_answer(solution_str, offered, rule)
    acc, format_ = accuracy_reward(answer, ground_truth), format_reward(solution_str)
    consistent = consistency(solution_str, answer, offered).value
    return {
        "score": acc + format_weight * format_ + consistency_weight * consistent,
        "acc": acc,
        "format": format_,
        "consistency": consistent,
        "echo": float(health(solution_str).echo),
        "pred": answer.letter or "",
    }
