"""Hand-checked readings of odd responses under all three rules (answers.jsonl)."""

import json
from pathlib import Path

import pytest

from sbr.config.section import Rule
from sbr.reward.answer import extract_answer

CASES = [json.loads(line) for line in (Path(__file__).parent / "answers.jsonl").read_text("utf-8").splitlines()]


def test_file_is_large_enough_and_names_are_unique():
    assert len(CASES) >= 60
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("rule", ["official", "care", "strict"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden_answer(case: dict, rule: Rule):
    answer = extract_answer(case["response"], case["options"], rule)
    assert (answer.letter, answer.rule) == (case[rule], rule), answer.reason
    assert answer.reason
