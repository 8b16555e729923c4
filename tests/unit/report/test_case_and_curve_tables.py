"""Tables of cases and of training metrics, counted by hand."""

import json
from dataclasses import replace

import pytest
from report_runs import answer, answered, sample_of, training

from sbr.analysis.cases import cases_of
from sbr.analysis.flow import flows_of
from sbr.analysis.training_metrics import read_metrics
from sbr.eval.stats import mcnemar_exact
from sbr.report.case_tables import chain_table, flow_table, tag_table
from sbr.report.curve_tables import ends_tables, number_cell, runs_table
from sbr.train.run_folder import METRICS


def run(flags, level="L1", **values):
    return [answer(sample_of(n, level), "A" if flag == "1" else "B", **values) for n, flag in enumerate(flags)]


RUNS = {
    "base": run("0011") + run("00", "L2"),
    "sft": run("0101") + run("10", "L2"),
    "grpo": run("0111") + run("11", "L2"),
}


def test_tags_by_level_and_model():
    table = tag_table(cases_of(RUNS), with_progress=False)
    assert table.header == ("", "base", "sft", "grpo")
    assert table.rows == (
        ("L1 right of 4", "2", "2", "3"),
        ("L1 fixed", "0", "1", "1"),
        ("L1 broken", "0", "1", "0"),
        ("L2 right of 2", "0", "1", "2"),
        ("L2 fixed", "0", "1", "1"),
    )
    assert "could not be given: done before, last step not named" in table.note
    assert "could not be given" not in tag_table(cases_of(RUNS), with_progress=True).note


def test_tags_say_when_there_were_more_answers():
    several = run("01") + run("11", sample_index=1)
    cases = cases_of({"a": several, "b": several})
    assert "Of 2 answers of each model to each question the first is taken." in tag_table(cases, True).note


def test_flows_with_their_p():
    table = flow_table(flows_of({"a": run("0" * 8 + "1"), "b": run("1" * 8 + "0")}))
    assert table.rows == (("L1 a -> b", "0", "1", "8", "0", f"{mcnemar_exact(1, 8):.3f}"),)


def test_chains_add_up_to_all_questions():
    table = chain_table(cases_of(RUNS))
    assert table.header == ("", "L1", "L2", "all")
    assert table.rows == (
        ("011", "1", "1", "2"),
        ("000", "1", "0", "1"),
        ("001", "0", "1", "1"),
        ("101", "1", "0", "1"),
        ("111", "1", "0", "1"),
    )


def test_begin_and_end_of_every_figure(tmp_path):
    folder = training(tmp_path / "r", steps=40, finished=False)
    metrics = read_metrics(folder)
    (table,) = ends_tables({"grpo": metrics})
    rows = {row[0]: row[1:] for row in table.rows}
    # rewards 0.41, 0.42, ... 0.80: means of steps 1 to 10 and 31 to 40
    assert rows["Reward"] == ("grpo", "40", "0.455", "0.755")
    assert rows["Accuracy (%)"] == ("grpo", "40", "45.5", "75.5")
    assert rows["Seconds: whole step (s)"] == ("grpo", "40", "6", "6")
    other = replace(metrics, steps=metrics.steps[:5], values={"reward_mean": metrics.values["reward_mean"][:5]})
    (both,) = ends_tables({"grpo": metrics, "short": other})
    assert ("", "short", "5", "0.415", "0.445") in both.rows  # halves of five values: two
    assert ("", "short", "0", "-", "-") in both.rows


def test_sft_has_a_table_of_its_own(tmp_path):
    runs = {"g": read_metrics(training(tmp_path / "g")), "s": read_metrics(training(tmp_path / "s", "sft"))}
    assert [table.title for table in ends_tables(runs)] == ["GRPO: begin and end", "SFT: begin and end"]
    assert ends_tables(runs)[1].rows[0] == ("Loss (nats)", "s", "4", "1.5", "0.5833")


def test_how_far_every_run_is(tmp_path):
    folder = training(tmp_path / "g", finished=False)
    (folder / METRICS).write_text(json.dumps({"step": 3}) + "\n" + json.dumps({"step": 5}) + "\n{")
    table = runs_table({"g": read_metrics(folder), "s": read_metrics(training(tmp_path / "s", "sft"))})
    assert table.rows == (("g", "GRPO", "5", "no", "3", "yes"), ("s", "SFT", "4", "yes", "0", "no"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.898437, "0.8984"), (4.0213e-7, "4.021e-07"), (17.4453, "17.45"), (0, "0"), (123456.7, "1.235e+05"), (-2, "-2")],
)
def test_numbers_have_four_figures(value, text):
    assert number_cell(value) == text


def test_answers_that_were_cut_are_counted():
    cut = [answered(sample_of(0), "<think>i see", truncated=True)]
    table = tag_table(cases_of({"a": cut, "b": run("1")}), True)
    assert ("L1 cut off", "1", "0") in table.rows
    assert ("L1 no answer", "1", "0") in table.rows
