"""Wrong reasoning, right letter: who gets whose reasoning."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from sbr.distill.another import exchange
from sbr.distill.samples import LINES, SampleKey, TeacherSample
from sbr.errors import ConfigError
from sbr.reward.format import format_reward

BLANK = TeacherSample("", 0, "What?", ("open tap", "close tap", "take cup", "put cup"), "B", "", 9, False, 0.1, "B")


def kept(*counts: int, blank: str = "") -> list[TeacherSample]:
    """Question q has counts[q] answers, each with a reasoning of its own and the letter of its question."""
    return [
        replace(
            BLANK,
            sample_id=f"q{q}",
            sample_index=i,
            response=f"<think>{blank}reason {q} {i}{blank}</think>\n<answer>{'ABCD'[q % 4]}</answer>",
            verdict="kept",
        )
        for q, count in enumerate(counts)
        for i in range(count)
    ]


@pytest.mark.parametrize("counts", [(1, 1), (3, 3), (1, 2, 3), (8, 1, 2, 5, 1), (2,) * 50])
def test_every_reasoning_goes_to_another_question_once(counts: tuple[int, ...]) -> None:
    samples = kept(*counts, blank=" \n")
    found = exchange(samples, seed=0)
    assert found.keys() == {LINES.key(sample) for sample in samples}
    for key, other in found.items():
        assert other.source.sample_id != key.sample_id
        assert not other.same
        source = re.sub("q(\\d+)", "\\1", f"reason {other.source.sample_id} {other.source.sample_index}")
        letter = "ABCD"[int(key.sample_id[1:]) % 4]
        assert other.response == f"<think> \n{source} \n</think>\n<answer>{letter}</answer>"
        assert format_reward(other.response) == 1
    assert Counter(other.source for other in found.values()) == Counter(list(found))


def test_a_question_with_most_of_the_answers_takes_from_all_others() -> None:
    found = exchange(kept(9, 1, 1), seed=3)
    assert all(other.source.sample_id != key.sample_id for key, other in found.items())
    assert {other.source.sample_id for key, other in found.items() if key.sample_id == "q0"} == {"q1", "q2"}


def test_the_rule_depends_on_seed_and_answers_alone() -> None:
    samples = kept(2, 1, 3, 2)
    found = exchange(samples, seed=5)
    assert exchange(samples[::-1], seed=5) == found
    others = [exchange(samples, seed) for seed in range(6, 12)]
    assert any(
        {key: other.source for key, other in now.items()} != {k: o.source for k, o in found.items()} for now in others
    )


def test_reasonings_that_read_the_same_are_told() -> None:
    first, second, third = kept(1, 1, 1)
    second = replace(second, response=second.response.replace("reason 1 0", "reason  0 0"))
    found = exchange([first, second, third], seed=0)
    same = {key.sample_id: other.same for key, other in found.items()}
    source = {key.sample_id: other.source.sample_id for key, other in found.items()}
    assert same == {key: {key, source[key]} == {"q0", "q1"} for key in same}
    assert sum(same.values()) == 1, "in a circle of three, one stands before its twin"


@pytest.mark.parametrize("counts", [(), (1,), (7,)])
def test_fewer_than_two_questions_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=rf"there are {len(counts)} questions with a kept answer"):
        exchange(kept(*counts), seed=0)


def test_keys_are_those_of_the_file() -> None:
    assert SampleKey("q0", 0) in exchange(kept(1, 1), seed=0)
