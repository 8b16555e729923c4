"""Cases: interest, order, several answers, and the file."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import answer, answered, sample_of

from sbr.analysis.cases import POINTS, CaseAnswer, cases_of, interest_of, read_cases, write_cases
from sbr.analysis.tags import TAGS
from sbr.errors import ConfigError, DataError
from sbr.eval.controls import rotations
from sbr.eval.records import RecordKey, record_line
from sbr.types import ProgressStep


def run(flags, level="L1"):
    """A record a character: 1 right, 0 wrong, both as reasoned."""
    return [answer(sample_of(n, level), "A" if flag == "1" else "B") for n, flag in enumerate(flags)]


def test_every_question_is_a_case_with_the_chain_of_its_outcomes():
    cases = cases_of({"base": run("0011"), "sft": run("0101"), "grpo": run("0110")})
    assert {case.sample_id: case.flow for case in cases} == {"0": "000", "1": "011", "2": "101", "3": "110"}
    assert {case.sample_id: [answer.tags for answer in case.answers] for case in cases} == {
        "0": [(), (), ()],
        "1": [(), ("fixed",), ()],
        "2": [(), ("broken",), ("fixed",)],
        "3": [(), (), ("broken",)],
    }
    first = cases[0]
    assert (first.sample_id, first.interest) == ("2", 2 + 2 + 1 - 1 / 4)
    assert (first.question, first.progress, first.gold, first.domain) == (None, (), "A", "Daily life")
    assert cases[-1].interest == 0


def test_interest_is_points_and_rarity():
    assert set(POINTS) == set(TAGS)
    assert all(points > 0 for points in POINTS.values())
    said = CaseAnswer("grpo", "", "A", True, ("fixed", "contradicts", "right against its own reasoning"))
    assert interest_of([said, said], share=0.25) == pytest.approx(2 * (2 + 0.5 + 1) + 0.75)
    assert interest_of([replace(said, tags=())], share=0.01) == 0


def test_the_rarer_flow_comes_first_then_ids_in_natural_order():
    cases = cases_of({"a": run("0" * 11 + "1"), "b": run("1" * 11 + "0")})
    assert [case.sample_id for case in cases] == ["11", *map(str, range(11))]


@given(st.permutations(range(8)), st.permutations(range(8)))
def test_the_order_does_not_depend_on_the_lines(one, other):
    base, grpo = run("0011") + run("0110", "L2"), run("0101") + run("1010", "L2")
    cases = cases_of({"a": base, "b": grpo})
    assert cases == cases_of({"a": [base[i] for i in one], "b": [grpo[i] for i in other]})


def test_levels_take_turns():
    cases = cases_of(
        {"a": run("0000") + run("00", "L10") + run("1", "L2"), "b": run("1111") + run("11", "L10") + run("0", "L2")}
    )
    assert [case.level for case in cases] == ["L1", "L2", "L10", "L1", "L10", "L1", "L1"]


def test_questions_bring_what_was_narrated():
    sample = replace(sample_of(0, gold="D"), progress=(ProgressStep("open tap", 0, 7),))
    runs = {"a": [answer(sample, "D")], "b": [answer(sample, "A", named="B")]}
    (case,) = cases_of(runs, {RecordKey("L1", "0", 0): sample})
    assert (case.question, case.progress) == ("What next?", ("open tap",))
    assert case.answers[1].tags == ("broken", "contradicts", "done before", "last step not named")
    (without,) = cases_of(runs)
    assert without.answers[1].tags == ("broken", "contradicts")


def test_samples_and_rotations_are_counted_and_the_first_is_shown():
    records = [
        answer(sample, sample.gold if (sample.rotation, index) in ((0, 1), (2, 0)) else "B", sample_index=index)
        for sample in rotations(sample_of(0))
        for index in (0, 1)
    ]
    (case,) = cases_of({"a": records, "b": records})
    assert case.flow == "00"
    assert case.options == sample_of(0).options
    expected = (sum(record.correct for record in records), 8)
    assert expected[0] >= 2
    assert [answer.right_of for answer in case.answers] == [expected, expected]
    (single,) = cases_of({"a": run("1"), "b": run("1")})
    assert single.answers[0].right_of is None


def test_controls_are_compared_with_their_like_only():
    blind = [replace(record, control="blind") for record in run("01")]
    assert len(cases_of({"a": blind, "b": blind})) == 2
    with pytest.raises(DataError, match="were not shown the same"):
        cases_of({"a": run("01"), "b": blind})


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, responses):
    file = tmp_path_factory.mktemp("cases") / "cases.jsonl"
    runs = {name: [answered(sample_of(n), said[i]) for n, said in enumerate(responses)] for i, name in enumerate("ab")}
    cases = cases_of(runs)
    write_cases(cases, file)
    assert read_cases(file) == cases
    assert len(file.read_bytes().splitlines()) == len(cases) == file.read_bytes().count(b"\n")


@pytest.fixture
def file(tmp_path):
    write_cases(cases_of({"a": run("01"), "b": run("10")}), tmp_path / "cases.jsonl")
    return tmp_path / "cases.jsonl"


def test_another_file_of_cases_is_replaced_and_nothing_else(file, tmp_path):
    write_cases(cases_of({"a": run("0"), "b": run("1")}), file)
    assert len(read_cases(file)) == 1
    write_cases([], file)
    assert read_cases(file) == ()
    for content in ("mine", "".join(map(record_line, run("01")))):
        (tmp_path / "notes").write_text(content)
        with pytest.raises(ConfigError, match="holds something else"):
            write_cases([], tmp_path / "notes")
        assert (tmp_path / "notes").read_text() == content


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda lines: lines[0] + lines[1][:-9], r"cases.jsonl:2: the last line is torn"),
        (lambda lines: lines[0] + "{]\n", r"cases.jsonl:2: not JSON"),
        (lambda lines: lines[0] * 2, r"cases.jsonl:2: question \d of L1 is already answered in line 1"),
        (lambda lines: lines[0].replace('"flow": "', '"flow": "1'), r"cases.jsonl:1: flow is '1\d\d', expected '\d\d'"),
        (
            lambda lines: lines[0].replace('"correct": false', '"correct": true'),
            r":1: answers.\d.correct is",
        ),
        (
            lambda lines: lines[0].replace('"fixed"', '"lucky"').replace('"broken"', '"lucky"'),
            r":1: answers.\d.tags is",
        ),
        (lambda lines: lines[0].replace('"gold": "A"', '"gold": "Z"'), r"cases.jsonl:1: gold is 'Z'"),
        (lambda lines: lines[0].replace('"interest"', '"other"'), r"cases.jsonl:1: not a record: interest is missing"),
    ],
)
def test_a_damaged_file_names_its_line(file, damage, problem):
    file.write_text(damage(file.read_text("utf-8").splitlines(keepends=True)), "utf-8")
    with pytest.raises(DataError, match=problem):
        read_cases(file)


def test_a_line_is_plain_json_with_the_names_of_the_fields(file):
    line = json.loads(file.read_text("utf-8").splitlines()[0])
    assert list(line) == ["sample_id", "level", "domain", "scenario", "gold", "options", "answers", "flow", "interest"]
    assert list(line["answers"][0]) == ["run", "response", "extracted", "correct", "tags", "right_of"]
