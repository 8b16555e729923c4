"""The choice of questions: stable, nested, whole questions."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sbr.analysis.choose import choose_by_hash
from sbr.eval.records import RecordKey

KEYS = [
    RecordKey(level, str(number), index, rotation)
    for level in ("L2", "L1")
    for number in range(20)
    for rotation in (0, 1)
    for index in (0, 1)
]


def test_all_by_level_and_hash():
    chosen = choose_by_hash(KEYS, None)
    assert sorted(chosen) == sorted(KEYS)
    assert [key.level for key in chosen] == ["L2"] * 80 + ["L1"] * 80
    order = list(dict.fromkeys(key.sample_id for key in chosen if key.level == "L1"))
    assert order == sorted(
        order, key=lambda name: int.from_bytes(hashlib.sha256(f"0\0L1\0{name}".encode()).digest()[:8], "big") >> 1
    )


def test_of_a_chosen_question_all_answers():
    chosen = choose_by_hash(KEYS, 3)
    assert len(chosen) == 2 * 3 * 4
    questions = {key[:2] for key in chosen}
    assert len(questions) == 6
    assert set(chosen) == {key for key in KEYS if key[:2] in questions}


@given(st.permutations(KEYS), st.integers(1, 25), st.integers(1, 25))
def test_a_smaller_choice_is_part_of_a_larger_one_whatever_the_order(keys, few, many):
    few, many = sorted((few, many))
    assert set(choose_by_hash(keys, few)) <= set(choose_by_hash(KEYS, many))


def test_levels_choose_differently():
    chosen = choose_by_hash(KEYS, 5)
    assert {key.sample_id for key in chosen if key.level == "L1"} != {k.sample_id for k in chosen if k.level == "L2"}
