"""What becomes of hand-made answers, and the order of the reasons."""

from dataclasses import replace
from pathlib import Path

import pytest

from sbr.config.asking import DistillConfig
from sbr.distill.samples import LINES, TeacherSample
from sbr.distill.select import judge

GOOD = "<think>open tap is done. next is close tap</think><answer>B</answer>"
BLANK = TeacherSample("39", 0, "What?", ("open tap", "close tap", "take cup", "put cup"), "B", "", 9, False, 0.1)


def answers(*responses: str) -> list[TeacherSample]:
    return [replace(BLANK, sample_index=i, response=response) for i, response in enumerate(responses)]


def verdicts(responses: list[str], **settings) -> list[str | None]:
    return [sample.verdict for sample in judge(answers(*responses), DistillConfig(**settings))]


@pytest.mark.parametrize(
    ("response", "settings", "verdict"),
    [
        (GOOD, {}, "kept"),
        (GOOD + "\nI hope this helps", {}, "format"),
        ("The answer is <answer>B</answer>", {}, "format"),
        ("", {}, "format"),
        (GOOD.replace("open", "<|im_end|>"), {}, "format"),  # SFT would refuse it
        (GOOD.replace("B", "none of them"), {}, "no_answer"),
        (GOOD.replace("B", "A"), {}, "wrong"),
        (GOOD.replace("B", "Before"), {"rule": "official"}, "kept"),  # its first character is B
        (GOOD.replace("B", "Before"), {"rule": "strict"}, "no_answer"),
        (GOOD.replace("B", "B. close tap"), {"rule": "care"}, "no_answer"),
        (GOOD, {"consistent": True}, "kept"),
        (GOOD.replace("close tap", "take cup"), {"consistent": True}, "inconsistent"),
        ("<think>i guess</think><answer>B</answer>", {"consistent": True}, "inconsistent"),
        (GOOD.replace("close tap", "take cup"), {}, "kept"),
        (GOOD, {"min_words": 8}, "kept"),
        (GOOD, {"min_words": 9}, "short"),
        (GOOD, {"max_words": 7}, "long"),
        (GOOD, {"max_words": 8}, "kept"),
    ],
)
def test_verdict_of_one_answer(response: str, settings: dict, verdict: str) -> None:
    assert verdicts([response], **settings) == [verdict]


def test_the_first_reason_counts() -> None:
    hopeless = replace(BLANK, response="<answer>A", truncated=True)
    assert judge([hopeless], DistillConfig(min_words=50))[0].verdict == "truncated"
    whole_but_cut = replace(BLANK, response=GOOD, truncated=True)
    assert judge([whole_but_cut], DistillConfig())[0].verdict == "truncated"
    wrong_and_short = "<think>hm</think><answer>C</answer>"
    assert verdicts([wrong_and_short], min_words=5, consistent=True) == ["wrong"]
    inconsistent_and_short = "<think>take cup</think><answer>B</answer>"
    assert verdicts([inconsistent_and_short], min_words=5, consistent=True) == ["inconsistent"]


def test_repetitions_are_kept_once_whatever_their_case_and_blanks() -> None:
    shouted = GOOD.replace("open tap is", "Open  TAP is")
    other = GOOD.replace("next", "now")
    assert verdicts([GOOD, shouted, other, GOOD]) == ["kept", "duplicate", "kept", "duplicate"]
    assert verdicts([GOOD, shouted, other, GOOD], distinct=False) == ["kept"] * 4


def test_an_answer_that_is_rejected_makes_no_duplicate() -> None:
    cut = replace(BLANK, response=GOOD, truncated=True)
    whole = replace(BLANK, response=GOOD, sample_index=1)
    assert [sample.verdict for sample in judge([cut, whole], DistillConfig())] == ["truncated", "kept"]


def test_at_most_so_many_are_kept_those_asked_for_first() -> None:
    others = [GOOD.replace("next", word) for word in ("now", "then", "so")]
    wrong = GOOD.replace("B", "A")
    assert verdicts([wrong, GOOD, others[0], GOOD, *others[1:]], keep=2) == [
        *("wrong", "kept", "kept", "duplicate", "surplus", "surplus")
    ]


def test_the_order_of_arrival_does_not_matter() -> None:
    arrived = answers(GOOD, GOOD, GOOD.replace("B", "A"), GOOD.replace("next", "now"))
    assert judge(arrived[::-1], DistillConfig(keep=1)) == judge(arrived, DistillConfig(keep=1))


def test_judging_again_forgets_the_earlier_verdict() -> None:
    strict = judge(answers(GOOD), DistillConfig(min_words=50))
    assert strict[0].verdict == "short"
    assert judge(strict, DistillConfig()) == judge(answers(GOOD), DistillConfig())


def test_lines_of_samples_are_read_back() -> None:
    judged = judge(answers(GOOD, "x"), DistillConfig())
    content = "".join(map(LINES.line, [*judged, replace(BLANK, sample_index=2, completion_tokens=None)])).encode()
    assert LINES.parse(content, Path("samples.jsonl")) == [
        *judged,
        replace(BLANK, sample_index=2, completion_tokens=None),
    ]
    assert content.count(b"verdict") == 2
