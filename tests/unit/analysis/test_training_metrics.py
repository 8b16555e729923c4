"""metrics.jsonl: what is read, what is refused."""

import json
from dataclasses import MISSING, fields

import pytest
from report_runs import training

from sbr.analysis.curve_titles import FIGURES, STAGES
from sbr.analysis.training_metrics import read_metrics, with_cold_starts
from sbr.errors import ConfigError, DataError
from sbr.train.grpo.metrics import GrpoMetrics
from sbr.train.run_folder import METRICS
from sbr.train.sft.metrics import SftMetrics


def write(run, *lines, torn=""):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (run / METRICS).write_text(text + torn, encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    return training(tmp_path / "grpo", steps=3)


def test_values_by_flat_keys(run):
    write(
        run,
        {"step": 1, "kl": None, "validation_accuracy": {}, "custom": {"a": 0.5}},
        {"step": 2, "kl": 0.1, "validation_accuracy": {"L1": 0.75}, "custom": {"a": 1}, "new": 3},
    )
    metrics = read_metrics(run)
    assert (metrics.kind, metrics.steps, metrics.torn, metrics.finished, metrics.missing) == (
        "GRPO",
        (1, 2),
        False,
        True,
        0,
    )
    assert metrics.values == {
        "kl": (None, 0.1),
        "validation_accuracy/L1": (None, 0.75),
        "custom/a": (0.5, 1.0),
        "new": (None, 3.0),
    }


def test_sft_is_told_by_its_recipe(tmp_path):
    metrics = read_metrics(training(tmp_path / "sft", "sft", finished=False))
    assert (metrics.kind, metrics.finished, metrics.values["loss"][1]) == ("SFT", False, 1.0)


@pytest.mark.parametrize("torn", ['{"step": 4, "rew', '{"step": 4}', "\u00e9"[:1]])
def test_a_line_that_is_being_written_is_left_out_and_said(run, torn):
    before = read_metrics(run)
    with (run / METRICS).open("a", encoding="utf-8") as stream:
        stream.write(torn)
    assert (read_metrics(run).torn, read_metrics(run).values) == (True, before.values)


def test_half_a_character_at_the_end_is_a_torn_line(run):
    with (run / METRICS).open("ab") as stream:
        stream.write('{"step": 4, "é'.encode()[:-1])
    assert read_metrics(run).torn


def test_lost_steps_are_counted(run):
    write(run, {"step": 2}, {"step": 3}, {"step": 7})
    assert read_metrics(run).missing == 4


def test_numbers_that_are_not_finite_are_read(run):
    write(run, '{"step": 1, "kl": NaN}', '{"step": 2, "kl": Infinity}', '{"step": 3, "kl": %s}' % ("9" * 400))
    nan, infinite, huge = read_metrics(run).values["kl"]
    assert nan != nan
    assert infinite == huge == float("inf")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (({"step": 1}, "{]", {"step": 2}), r"metrics.jsonl:2: line is not JSON"),
        (({"step": 1}, "", {"step": 2}), r"metrics.jsonl:2: line is blank"),
        (("7",), r"metrics.jsonl:1: line is a JSON int"),
        (("[" * 100_000,), r"metrics.jsonl:1: line is nested too deeply"),
        (('{"step": 1, "kl": 1, "kl": 2}',), r"metrics.jsonl:1: line is an object that has the key 'kl' twice"),
        (({"kl": 1},), r"metrics.jsonl:1: step is None, expected a number from 1"),
        (({"step": True},), r"metrics.jsonl:1: step is True"),
        (({"step": 0},), r"metrics.jsonl:1: step is 0"),
        (({"step": 1.5},), r"metrics.jsonl:1: step is 1.5"),
        (({"step": 2}, {"step": 2}), r"metrics.jsonl:2: step is 2, expected a number after 2"),
        (({"step": 2}, {"step": 1}), r"metrics.jsonl:2: step is 1, expected a number after 2"),
        (({"step": 1, "kl": "low"},), r"metrics.jsonl:1: kl is 'low', expected a number or null"),
        (({"step": 1, "kl": True},), r"metrics.jsonl:1: kl is True"),
        (({"step": 1, "kl": [1]},), r"metrics.jsonl:1: kl is \[1\]"),
        (({"step": 1, "custom": {"a": "x"}},), r"metrics.jsonl:1: custom/a is 'x'"),
        (({"step": 1, "kl": 1}, {"step": 2}), r"metrics.jsonl:2: kl is missing, line 1 has it"),
    ],
)
def test_what_is_no_record_names_its_line(run, lines, problem):
    write(run, *lines)
    with pytest.raises(DataError, match=problem):
        read_metrics(run)


def test_a_run_that_has_not_begun(run):
    write(run, torn='{"step": 1')
    with pytest.raises(DataError, match="no whole line: the run has not taken a step yet"):
        read_metrics(run)
    (run / METRICS).unlink()
    with pytest.raises(DataError, match="does not exist: the run has not taken a step yet"):
        read_metrics(run)


def test_what_is_no_training_run(tmp_path, run):
    with pytest.raises(ConfigError, match=r"there is no recipe\.json"):
        read_metrics(tmp_path)
    (run / "recipe.json").write_text('{"eval": {}}')
    with pytest.raises(ConfigError, match="has no section train"):
        read_metrics(run)
    (run / "recipe.json").write_text("[]")
    with pytest.raises(DataError, match=r"recipe\.json is damaged"):
        read_metrics(run)


def test_cold_starts_come_before_their_runs(tmp_path):
    plain, both = training(tmp_path / "a"), training(tmp_path / "b")
    cold = training(both / "cold_start", "sft")
    runs = with_cold_starts({"a": plain, "b": both, "nowhere": tmp_path / "c"})
    assert runs == {"a": plain, "b, cold start": cold, "b": both, "nowhere": tmp_path / "c"}
    (both / METRICS).unlink()  # still in its cold start
    assert with_cold_starts({"b": both}) == {"b, cold start": cold}


@pytest.mark.parametrize(("kind", "logged"), [("GRPO", GrpoMetrics), ("SFT", SftMetrics)])
def test_every_figure_is_a_field_of_the_metrics(kind, logged):
    names = {field.name for field in fields(logged)}
    assert {figure.key.partition("/")[0] for figure in FIGURES[kind]} <= names
    seconds = {figure.key for figure in STAGES}
    assert {name for name in names if name.startswith("seconds")} <= seconds
    assert seconds <= {field.name for field in fields(GrpoMetrics) if field.default is MISSING}
