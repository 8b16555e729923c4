"""The extractor on any text: never raises, offers only offered letters, and equals the official comparison."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbr.reward.answer import extract_answer
from sbr.types import LETTERS

OPTIONS = ("open tap", "close tap", "take cup", "put cup on table")
PIECES = ["<think>", "</think>", "<answer>", "</answer>", "A", "B", " C", "D.", "(E)", "b", "open tap", "close tap"]
PIECES += ["The answer is ", "**", "\uff21", "\u3000", "`", "", "or", "-", "\\", "[", "\x00", "\U0001f170", "..", "\n"]
ANY_TEXT = st.text(st.one_of(st.characters(), st.characters(categories=["Cs", "Cf", "Nd"]), st.sampled_from("<>/AB*")))
RESPONSES = st.one_of(st.text(), ANY_TEXT, st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
INSIDE = RESPONSES.map(lambda text: f"<think>x</think><answer>{text}</answer>")
OPTION_LISTS = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(PIECES)), min_size=2, max_size=5)


@pytest.mark.parametrize("rule", ["official", "care", "strict"])
@settings(deadline=None)
@given(response=st.one_of(RESPONSES, INSIDE), options=OPTION_LISTS)
def test_any_text_gives_an_offered_letter_or_none(rule, response, options):
    answer = extract_answer(response, options, rule)
    assert answer.letter is None or answer.letter in LETTERS[: len(options)]
    assert answer.rule == rule
    assert answer.reason


def official_reward(content: str, gold: str) -> float:
    """The comparison as the paper's code states it: first tag pair, strip, first characters equal; errors score 0."""
    match = re.search(r"<answer>(.*?)</answer>", content, re.DOTALL)
    if match is None:
        return 0.0
    student = match.group(1).strip()
    return float(student[:1] == gold)


def care_reward(content: str, gold: str) -> float:
    match = re.search(r"<answer>\s*(.*?)\s*</answer>", content, re.DOTALL)
    return float((match.group(1).strip() if match else "") == gold)


@settings(deadline=None)
@given(response=st.one_of(RESPONSES, INSIDE), gold=st.sampled_from("ABCD"))
def test_official_and_care_equal_the_published_comparisons(response, gold):
    assert (extract_answer(response, OPTIONS, "official").letter == gold) == (official_reward(response, gold) == 1.0)
    assert (extract_answer(response, OPTIONS, "care").letter == gold) == (care_reward(response, gold) == 1.0)


@settings(deadline=None)
@given(response=st.one_of(RESPONSES, INSIDE))
def test_an_exact_letter_is_read_alike_by_all_rules_when_there_is_one_tag(response):
    care = extract_answer(response, OPTIONS, "care")
    if care.letter is not None:
        assert extract_answer(response, OPTIONS, "official").letter == care.letter
        if response.count("</answer>") == 1:
            assert extract_answer(response, OPTIONS, "strict").letter == care.letter


@settings(deadline=None)
@given(response=st.one_of(RESPONSES, INSIDE), options=OPTION_LISTS, gold=st.sampled_from(LETTERS))
def test_what_care_has_right_official_has_right_and_strict_does_not_contradict(response, options, gold):
    care = extract_answer(response, options, "care").letter
    if care == gold:
        assert extract_answer(response, options, "official").letter == gold
        assert extract_answer(response, options, "strict").letter in (gold, None)


@settings(deadline=None)
@given(response=st.one_of(RESPONSES, INSIDE), behind=RESPONSES, options=OPTION_LISTS)
def test_official_and_care_read_the_first_tag_only_and_strict_does_not_change_its_mind(response, behind, options):
    first = f"<think>x</think><answer>{response}</answer>"
    for rule in ("official", "care"):
        assert extract_answer(first + behind, options, rule) == extract_answer(first, options, rule)
    before = extract_answer(first, options, "strict").letter
    assert extract_answer(first + behind, options, "strict").letter in (before, None)


@settings(deadline=None)
@given(
    letter=st.sampled_from("ABCD"), form=st.sampled_from(["{}", "{}.", "({})", "{})", "{}:", "**{}**", "{}. {text}"])
)
def test_strict_reads_every_plain_form_of_every_letter(letter, form):
    text = form.format(letter, text=OPTIONS[LETTERS.index(letter)])
    assert extract_answer(f"<answer>{text}</answer>", OPTIONS, "strict").letter == letter


@pytest.mark.parametrize(
    ("response", "rule", "reason"),
    [
        ("no tags here", "official", "no <answer> tags"),
        ("<answer>B", "care", "<answer> is never closed"),
        ("<answer></answer>", "official", "<answer> is empty"),
        ("<answer>Zebra</answer>", "official", "first character inside <answer> is 'Z', not one of ABCD"),
        ("<answer>B.</answer>", "care", "text inside <answer> is 'B.', not exactly one letter of ABCD"),
        ("<answer>E</answer>", "strict", "letter E is not one of ABCD"),
        ("<answer>A. close tap</answer>", "strict", "'A. close tap' names both A and B"),
        ("<answer>A</answer><answer>C</answer>", "strict", "2 <answer> pairs disagree: A, C"),
        ("<answer>Any</answer>", "strict", "'Any' is neither a letter nor an option's text"),
        ("<answer>open tap</answer>", "strict", "text of option A"),
        ("<answer>B</answer>", "official", "first character inside <answer> is B"),
    ],
)
def test_reason_says_why(response, rule, reason):
    assert extract_answer(response, OPTIONS, rule).reason == reason
