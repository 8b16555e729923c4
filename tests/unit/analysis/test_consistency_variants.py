"""Taking responses apart, halving a reasoning, and choosing another's."""

from __future__ import annotations

import random

import pytest
from consistency_answers import answer, record
from hypothesis import given
from hypothesis import strategies as st

from sbr.analysis.variants import (
    LOOKED_AT,
    NO_ANSWER,
    NO_LETTER,
    OTHER_FORM,
    SPECIAL,
    Donor,
    Parts,
    donors,
    first_half,
    parts_of,
)
from sbr.eval.records import record_key


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        ("<think> so B </think><answer>B</answer>", ("<think>", " so B ", "</think><answer>")),
        ("<think></think>\n<answer> B. open</answer>", ("<think>", "", "</think>\n<answer> ")),
        (" <think>a\nb</think><answer>C</answer> and more", (" <think>", "a\nb", "</think><answer>")),
    ],
)
def test_parts(response, parts):
    found = parts_of(record(response))
    assert found == Parts(*parts)
    assert isinstance(found, Parts)
    assert response.startswith(found.after(found.reasoning) + (record(response).extracted or "none"))
    assert found.after("") == parts[0] + parts[2]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("<think>so</think>", NO_ANSWER),
        ("<think>so</think><answer>none</answer>", NO_ANSWER),
        ("so <answer>B</answer>", OTHER_FORM),
        ("<think>so <answer>B</answer>", OTHER_FORM),
        ("<answer>B</answer><think>so</think>", OTHER_FORM),
        ("<think>so</think> It is B. <answer>B</answer>", OTHER_FORM),
        ("Well. <think>so</think><answer>B</answer>", OTHER_FORM),
        ("<think>a</think><think>b</think><answer>B</answer>", OTHER_FORM),
        ("<think>a<think>b</think><answer>B</answer>", OTHER_FORM),
        ("<think>a <answer>B</answer></think><answer>C</answer>", OTHER_FORM),
        ("<think>a <|im_end|></think><answer>B</answer>", SPECIAL),
    ],
)
def test_what_cannot_be_taken_apart(response, reason):
    assert parts_of(record(response), ["<|im_end|>"]) == reason


def test_a_letter_that_is_not_written_at_its_place():
    for text in ("The answer is B", "open cupboard", "(B)"):
        found = record(answer("so", text), rule="strict")
        assert found.extracted == "B"
        assert parts_of(found) == NO_LETTER


@pytest.mark.parametrize(
    ("reasoning", "half"),
    [
        ("", ""),
        (" \n", " \n"),
        (" one ", "  "),
        ("one two", "one"),
        (" a  b\tc d ", " a  b "),
        ("a b c\n", "a\n"),
    ],
)
def test_first_half(reasoning, half):
    assert first_half(reasoning) == half


@given(st.text(alphabet=" \n\tab.", max_size=40))
def test_first_half_keeps_the_smaller_half_of_the_words_and_the_blanks_around(reasoning):
    half = first_half(reasoning)
    words = reasoning.split()
    assert half.split() == words[: len(words) // 2]
    if len(words) > 1:
        assert half[: len(half) - len(half.lstrip())] == reasoning[: len(reasoning) - len(reasoning.lstrip())]
        assert half[len(half.rstrip()) :] == reasoning[len(reasoning.rstrip()) :]


def test_every_question_gets_the_reasoning_of_another_video():
    records = [record(answer(f"thought {n}"), str(n), f"V{n // 2}") for n in range(30)]
    found = donors(records)
    by_id = {r.sample_id: r for r in records}
    assert len(found) == 30
    for key, donor in found.items():
        assert by_id[donor.sample_id].video_id != by_id[key.sample_id].video_id
        assert donor == Donor(donor.sample_id, f"thought {donor.sample_id}", False, False)
    assert len({donor.sample_id for donor in found.values()}) >= 25  # about once each


def test_the_choice_depends_on_nothing_but_the_questions():
    records = [record(answer(f"thought {n}"), str(n), f"V{n}") for n in range(12)]
    shuffled = random.Random(0).sample(records, len(records))
    assert donors(records) == donors(shuffled)


def test_a_reasoning_that_names_the_answer_is_passed_over():
    texts = ["now open cupboard"] * 9 + ["take spoon"]
    records = [record(answer(text), str(n), f"V{n}") for n, text in enumerate(texts)]
    found = donors(records)
    own = record_key(records[-1])
    assert {donor.sample_id for key, donor in found.items() if key != own} == {"9"}
    assert found[own].names_answer  # all others name B
    assert not any(donor.names_answer for key, donor in found.items() if key != own)


def test_only_so_many_others_are_looked_at():
    records = [record(answer("open cupboard"), str(n), f"V{n}") for n in range(3 * LOOKED_AT)]
    assert all(donor.names_answer and not donor.same_video for donor in donors(records).values())


def test_the_same_video_only_when_there_is_no_other():
    records = [record(answer("a"), "0", "V"), record(answer("b"), "1", "V")]
    assert donors(records) == {
        record_key(records[0]): Donor("1", "b", True, False),
        record_key(records[1]): Donor("0", "a", True, False),
    }
    records.append(record(answer("open cupboard"), "2", "W"))
    assert donors(records)[record_key(records[0])] == Donor("2", "open cupboard", False, True)


def test_levels_samples_and_rotations_do_not_mix_and_empty_reasoning_is_no_gift():
    lone = [record(answer("a"), "0", level="L2"), record(answer("b"), "1", sample_index=1), record(answer("c"), "2")]
    lone += [record(answer("d"), "3", rotation=1), record(answer(" "), "4", "W"), record("no form", "5", "W")]
    assert donors(lone) == {record_key(lone[4]): Donor("2", "c", False, False)}


def test_unknown_videos_count_as_others():
    records = [record(answer("a"), "0", None), record(answer("b"), "1", None)]
    assert donors(records)[record_key(records[0])] == Donor("1", "b", False, False)
