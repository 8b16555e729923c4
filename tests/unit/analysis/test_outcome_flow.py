"""How outcomes move from model to model, by hand and against scipy."""

from dataclasses import replace

import pytest
from report_runs import answer, sample_of
from scipy.stats import binomtest

from sbr.analysis.flow import ALL_LEVELS, Flow, first_answers, flows_of
from sbr.errors import ConfigError, DataError
from sbr.eval.controls import rotations


def run(flags, level="L1", **values):
    """A record a character: 1 right, 0 wrong."""
    return [answer(sample_of(n, level), "A" if flag == "1" else "B", **values) for n, flag in enumerate(flags)]


def test_counts_from_each_model_to_the_next():
    runs = {"base": run("1100110"), "sft": run("1010110"), "grpo": run("1111111")}
    first, second = flows_of(runs)
    assert first == Flow("L1", "base", "sft", right_right=3, right_wrong=1, wrong_right=1, wrong_wrong=2)
    assert second == Flow("L1", "sft", "grpo", 4, 0, 3, 0)
    assert second.p_value == pytest.approx(binomtest(0, 3).pvalue)
    assert first.p_value == 1


def test_levels_and_all_of_them():
    flows = flows_of({"a": run("10") + run("110", "L2"), "b": run("01") + run("111", "L2")})
    assert [flow.level for flow in flows] == ["L1", "L2", ALL_LEVELS]
    assert flows[2] == Flow(ALL_LEVELS, "a", "b", 2, 1, 2, 0)


def test_levels_stand_in_natural_order():
    levels = ("L10", "L2", "L1")
    flows = flows_of({name: [record for level in levels for record in run("10", level)] for name in "ab"})
    assert [flow.level for flow in flows] == ["L1", "L2", "L10", ALL_LEVELS]


def test_whatever_the_order_of_the_lines():
    base, other = run("1100"), run("1010")
    assert flows_of({"a": base, "b": other}) == flows_of({"a": base[::-1], "b": other[2:] + other[:2]})


def test_of_samples_and_rotations_the_first_one_counts():
    turned = rotations(sample_of(0))
    records = [
        answer(sample, letter, sample_index=index)
        for sample in turned
        for index, letter in enumerate("AB" if sample.rotation == 0 else "CC")
    ]
    assert first_answers(records[::-1]) == {("L1", "0"): records[0]}
    (flow,) = flows_of({"a": records, "b": records})
    assert (flow.right_right, flow.wrong_wrong) == (1, 0)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (run("110"), "the question sets differ"),
        ([replace(record, options=("a", "b", "c", "d")) for record in run("11")], "has the options"),
        ([replace(record, gold="C", correct=False) for record in run("11")], "has the gold letter"),
        ([replace(record, rule="strict") for record in run("11")], "scored by different rules"),
        ([replace(record, control="blind") for record in run("11")], "were not shown the same"),
        (run("11") + run("11", sample_index=1), "the question sets differ"),
        ([], "other has no records"),
    ],
)
def test_other_questions_are_refused(other, problem):
    with pytest.raises(DataError, match=problem):
        flows_of({"base": run("11"), "other": other})


def test_questions_without_their_first_sample_are_refused():
    late = run("11", sample_index=1)
    with pytest.raises(DataError, match=r"expected 0 to 0"):
        flows_of({"a": late, "b": late})


def test_one_run_has_no_flow():
    with pytest.raises(ConfigError, match="at least two"):
        flows_of({"a": run("11")})
