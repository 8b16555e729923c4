"""What curves leave out is said once for every line, also where stages share a picture."""

import json
import math

import pytest
from report_runs import training

from sbr.analysis.curves import curves_of
from sbr.analysis.training_metrics import read_metrics
from sbr.cli.main import run
from sbr.train.run_folder import METRICS


def logged(folder, values, **recipe):
    """A run whose lines have these rewards and seconds."""
    training(folder, **recipe)
    lines = [{"step": step, "reward_mean": 0.5, "seconds": value} for step, value in enumerate(values, 1)]
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_stages_say_what_they_lack(tmp_path):
    folder = logged(tmp_path / "r", [1.0, math.nan, math.inf, 2.0])
    reward, seconds = curves_of({"r": read_metrics(folder)}, 1)
    assert reward.left_out == ()
    assert seconds.left_out == ("whole step, r: 2 values that are no finite numbers are left out.",)
    assert seconds.about.endswith(seconds.left_out[0])
    assert [line.name for line in seconds.lines] == ["whole step"]


def test_every_sentence_of_an_arm_stands_alone(tmp_path):
    runs = {
        f"a_{seed}": read_metrics(logged(tmp_path / str(seed), values, train={"seed": seed}))
        for seed, values in enumerate(([1.0, math.nan, 3.0], [1.0, 2.0]))
    }
    _, seconds = curves_of(runs, 1)
    assert seconds.left_out == (
        "whole step, a (2 seeds): 1 values that are no finite numbers are left out.",
        "whole step, a (2 seeds): 2 steps that not all seeds have are left out.",
    )
    assert seconds.lines[0].steps == (1,)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 0)])
def test_the_command_says_it_once_with_the_number_of_figures(tmp_path, monkeypatch, capsys, seeds):
    monkeypatch.chdir(tmp_path)
    for number, (seed, steps) in enumerate(zip(seeds, (3, 5), strict=True)):
        training(tmp_path / f"a_{number}", steps=steps, train={"seed": seed})
    assert run(["analyze", "curves", "a_0", "a_1"]) == 0
    printed = capsys.readouterr().out
    said = "a (2 seeds): 2 steps that not all seeds have are left out. (figures: 2)"
    assert printed.count("left out.") == (3 if seeds == (0, 1) else 0)
    assert (said in printed) == (seeds == (0, 1))


def test_a_seed_that_has_not_logged_a_figure_yet_does_not_hide_the_others(tmp_path):
    runs = {}
    for seed, accuracy in enumerate((0.25, 0.75, None)):
        folder = training(tmp_path / str(seed), train={"seed": seed})
        lines = [
            {"step": step, "validation_accuracy": {"L1": accuracy} if accuracy is not None and step == 2 else {}}
            for step in (1, 2)
        ]
        (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
        runs[f"a_{seed}"] = read_metrics(folder)
    (validation,) = curves_of(runs, 1)
    (line,) = validation.lines
    assert (line.steps, line.values, len(line.raw)) == ((2,), (0.5,), 2)
    assert validation.left_out == ("a (3 seeds): 1 seeds that have not logged it are left out.",)
    (validation,) = curves_of({"a_0": runs["a_0"], "a_2": runs["a_2"]}, 1)
    assert (validation.lines[0].values, validation.lines[0].low) == ((0.25,), None)
