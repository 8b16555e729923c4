"""Verdicts of the three ways, and their figures, against counts made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbr.analysis.consistency_records import LINES, ConsistencyRecord
from sbr.analysis.consistency_summary import (
    ALL_LEVELS,
    WaySummary,
    compare_consistency,
    summarize_consistency,
)
from sbr.analysis.variants import NO_ANSWER, OTHER_FORM
from sbr.analysis.verdicts import Verdict, changed, log_odds, most_likely, verdict
from sbr.errors import DataError
from sbr.eval.agreement import cohen_kappa
from sbr.eval.stats import clustered_difference, paired_difference, wilson_interval

SURE_B = (0.02, 0.94, 0.02, 0.02)
FLAT = (0.25, 0.25, 0.25, 0.25)
SURE_D = (0.01, 0.01, 0.01, 0.97)


def found(number: int = 0, **values) -> ConsistencyRecord:
    """An answer B that its reasoning entails, by rule, likelihood and judge."""
    fields = {
        "sample_id": str(number),
        "level": "L1",
        "sample_index": 0,
        "rotation": 0,
        "answer": "B",
        "correct": True,
        "rule": 1.0,
        "rule_reason": "the reasoning names B",
        "own": SURE_B,
        "empty": FLAT,
        "cut": FLAT,
        "other": SURE_D,
        "other_sample_id": "x",
        "letter_shares": (0.99, 0.5, 0.6, 0.9),
        "video_id": f"V{number}",
        "judge": "B",
        "judge_reply": "Conclusion: B",
    }
    return ConsistencyRecord(**(fields | values))


def unanswered(number: int = 0, **values) -> ConsistencyRecord:
    nothing = {"own": None, "empty": None, "cut": None, "other": None, "letter_shares": None, "judge": None}
    rule = {"answer": None, "correct": False, "rule": 0.0, "rule_reason": "no answer", "likelihood_reason": NO_ANSWER}
    return found(number, **nothing, **rule, **values)


def odds(factor: float) -> tuple[float, ...]:
    """Letters of which B has the odds of FLAT times `factor`."""
    p = factor / 3 / (1 + factor / 3)
    return ((1 - p) / 3, p, (1 - p) / 3, (1 - p) / 3)


@pytest.mark.parametrize(
    ("own", "empty", "other", "value"),
    [
        (SURE_B, FLAT, SURE_D, 1.0),
        (odds(2.01), FLAT, FLAT, 1.0),
        (odds(1.99), FLAT, FLAT, 0.5),
        (odds(4), odds(1.9), odds(2.1), 0.5),
        (odds(1e9), odds(4e8), FLAT, 1.0),
        (FLAT, FLAT, FLAT, 0.5),
        (FLAT, odds(2.01), odds(2.01), 0.0),
        (FLAT, odds(2.01), odds(1.99), 0.5),
        (FLAT, odds(4), SURE_D, 0.5),
        (SURE_D, SURE_B, SURE_B, 0.0),
        ((0.0, 1.0, 0.0, 0.0), FLAT, FLAT, 1.0),
        (FLAT, FLAT, None, None),
    ],
)
def test_likelihood(own, empty, other, value):
    assert verdict(found(own=own, empty=empty, other=other), "likelihood").value == value


def test_what_was_not_read_or_not_gone():
    assert verdict(found(own=None, empty=None, likelihood_reason=OTHER_FORM), "likelihood") == Verdict(None, OTHER_FORM)
    unread = verdict(found(judge="unread"), "judge")
    assert (unread.value, unread.given) == (None, True)
    assert verdict(found(judge=None), "judge") == Verdict(None, "")
    assert not verdict(found(judge=None), "judge").given


@pytest.mark.parametrize(("judge", "value"), [("B", 1.0), ("C", 0.0), ("none", 0.0)])
def test_judge(judge, value):
    assert verdict(found(judge=judge), "judge").value == value


def test_rule():
    assert verdict(found(rule=0.0, rule_reason="the reasoning names D"), "rule") == Verdict(
        0.0, "the reasoning names D"
    )
    several = verdict(found(rule=0.5, rule_reason="the reasoning ends with A and D"), "rule")
    assert several == Verdict(0.5, "the reasoning ends with several options")


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=5))
def test_log_odds_are_exact_at_both_ends(logits):
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    probabilities = [weight / math.fsum(weights) for weight in weights]
    rest = [math.exp(logit - max(logits[1:])) for logit in logits[1:]]
    expected = logits[0] - max(logits[1:]) - math.log(math.fsum(rest))
    assert log_odds(probabilities, 0) == pytest.approx(expected, abs=1e-9)


def test_most_likely_and_changed():
    assert most_likely((0.2, 0.4, 0.4, 0.0)) == 1
    assert [changed(found(cut=SURE_B), change) for change in ("cut", "empty", "other")] == [False, True, True]
    assert changed(found(other=None), "other") is None
    assert changed(unanswered(), "cut") is None


def of_way(records: list[ConsistencyRecord], way: str) -> WaySummary:
    (level,) = summarize_consistency(records).levels
    (one,) = [one for one in level.ways if one.way == way]
    return one


def ten() -> list[ConsistencyRecord]:
    return [
        *(found(n) for n in range(4)),
        found(4, correct=False),
        found(5, rule=0.0, rule_reason="the reasoning names D", judge="D", own=FLAT, empty=SURE_B, other=SURE_B),
        found(6, rule=0.0, rule_reason="the reasoning names D", judge="none", correct=False),
        found(7, rule=0.5, rule_reason="the reasoning names no option", judge="unread", own=FLAT, other=FLAT),
        found(8, own=None, empty=None, cut=None, other=None, letter_shares=None, likelihood_reason=OTHER_FORM),
        unanswered(9),
    ]


def test_shares_of_each_way_add_up_and_are_counts_made_by_hand():
    rule, likelihood, judge = (of_way(ten(), way) for way in ("rule", "likelihood", "judge"))
    for one, yes, no, untold in ((rule, 6, 2, 1), (likelihood, 6, 1, 2), (judge, 6, 2, 1)):
        assert one.consistent.value == pytest.approx(yes / 10)
        assert one.consistent.interval == wilson_interval(yes, 10)
        assert one.inconsistent.value == pytest.approx(no / 10)
        assert one.untold == pytest.approx(untold / 10)
        assert (one.consistent.answers, one.inconsistent.answers) == (10, 10)
    assert rule.reasons == (("the reasoning names no option", 1),)
    assert dict(likelihood.reasons) == {OTHER_FORM: 1, "the reasoning makes no difference, or not against both": 1}
    assert judge.reasons == (("the judge's reply cannot be read", 1),)
    assert rule.right_if_consistent is not None
    assert rule.right_if_inconsistent is not None
    assert (rule.right_if_consistent.value, rule.right_if_consistent.answers) == (pytest.approx(5 / 6), 6)
    assert rule.right_if_consistent.interval == wilson_interval(5, 6)
    assert (rule.right_if_inconsistent.value, rule.right_if_inconsistent.answers) == (0.5, 2)


def test_a_way_that_was_not_gone_is_left_out_and_one_half_gone_counts_what_it_saw():
    records = [replace(record, judge=None) for record in ten()]
    (level,) = summarize_consistency(records).levels
    assert [one.way for one in level.ways] == ["rule", "likelihood"]
    half = [found(0), found(1, judge=None), found(2, judge="C"), unanswered(3)]
    judge = of_way(half, "judge")
    assert judge.consistent.answers == 3
    assert judge.consistent.value == pytest.approx(1 / 3)


def test_level():
    (level,) = summarize_consistency(ten()).levels
    assert (level.level, level.answers, level.questions, level.no_answer) == ("L1", 10, 10, 1)
    dependence = level.dependence
    assert dependence is not None
    assert dependence.answers == 8
    shares = {change: share for change, share in dependence.changed}
    assert {change: share.value for change, share in shares.items() if share} == {
        "cut": 6 / 8,  # of the answers 5 and 7 both are flat, and the first letter is the likeliest
        "empty": 7 / 8,
        "other": 7 / 8,
    }
    means = dict(dependence.probability)
    assert means["own"] == pytest.approx((6 * 0.94 + 2 * 0.25) / 8)
    assert means["other"] == pytest.approx((6 * 0.01 + 0.94 + 0.25) / 8)
    assert dependence.own_is_answer == 6 / 8
    assert dependence.letters_hold == pytest.approx(0.99)
    assert (dependence.same_video, dependence.names_answer) == (0, 0)


def test_several_answers_to_a_question_count_as_one_observation_as_far_as_they_agree():
    records = [found(n, sample_index=k, rule=float(n % 2), rule_reason="named") for n in range(20) for k in range(5)]
    share = of_way(records, "rule").consistent
    assert share.value == 0.5
    assert share.answers == 100
    assert share.interval == wilson_interval(10, 20)


def test_agreement_over_what_both_could_read():
    records = [
        *(found(n) for n in range(8)),
        *(found(n, rule=0.0, rule_reason="named") for n in range(8, 12)),
        *(found(n, rule=0.5, rule_reason="none", own=FLAT, other=FLAT) for n in range(12, 18)),
        found(18, own=None, likelihood_reason=OTHER_FORM),
        unanswered(19),
    ]
    (agreement, *others) = summarize_consistency(records).agreements
    assert (agreement.level, agreement.one, agreement.other) == ("L1", "rule", "likelihood")
    assert agreement.kappa == cohen_kappa([True] * 8 + [False] * 10, [True] * 12 + [False] * 6, range(18))
    assert [(one.one, one.other) for one in others] == [("rule", "judge"), ("likelihood", "judge")]


def test_levels_keep_their_order_and_agreement_is_over_all_too():
    records = [found(n, level=level) for level in ("L3", "L1") for n in range(3)]
    summary = summarize_consistency(records)
    assert [level.level for level in summary.levels] == ["L3", "L1"]
    assert {one.level for one in summary.agreements} == {"L3", "L1", ALL_LEVELS}
    assert all(one.kappa.value is None for one in summary.agreements)  # every way says one thing
    assert {one.kappa.clusters for one in summary.agreements if one.level == ALL_LEVELS} == {3}  # videos of both


def test_differences_are_paired_and_clustered():
    base = [found(n, rule=float(n % 2), rule_reason="named", video_id=f"V{n // 2}") for n in range(40)]
    other = [found(n, cut=SURE_B if n < 10 else FLAT, video_id=f"V{n // 2}") for n in range(39, -1, -1)]
    figures = {one.figure: one for one in compare_consistency(base, other)}
    assert list(figures) == ["rule", "likelihood", "judge", "cut", "empty", "other"]
    rule = figures["rule"]
    values = [float(n % 2) for n in range(40)]
    assert rule.paired == paired_difference(values, [1.0] * 40)
    assert rule.by_video == clustered_difference(values, [1.0] * 40, [f"V{n // 2}" for n in range(40)])
    assert (rule.questions, figures["cut"].paired.difference) == (40, pytest.approx(-0.25))
    assert figures["judge"].paired.difference == 0


def test_only_answers_of_both_are_compared_and_videos_must_be_known():
    base, other = [found(n, video_id=None) for n in range(12)], [found(n) for n in range(6, 20)]
    (rule, *_) = compare_consistency(base, other)
    assert (rule.questions, rule.by_video) == (6, None)
    with pytest.raises(DataError, match="no analysed question in common"):
        compare_consistency(base[:3], other)


def test_nothing_is_refused():
    with pytest.raises(DataError, match="nothing was analysed"):
        summarize_consistency([])


def test_records_are_lines_and_back(tmp_path):
    records = [*ten(), found(11, other_same_video=True, other_names_answer=True)]
    lines = "".join(LINES.line(record) for record in records)
    assert LINES.parse(lines.encode(), tmp_path / "consistency.jsonl") == records
