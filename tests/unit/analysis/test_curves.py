"""Curves against numpy: smoothing, seeds, bands, what is left out."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import training

from sbr.analysis.arms import arms_of
from sbr.analysis.curves import curves_of, line_of
from sbr.analysis.training_metrics import read_metrics
from sbr.train.run_folder import METRICS

NOISE = np.random.default_rng(0)


def logged(folder, rewards, steps=None, kind="grpo", finished=True, key="reward_mean", **values):
    """The metrics of a run that logged these values, None: not in that line."""
    training(folder, kind, finished=finished, **values)
    steps = steps or range(1, len(rewards) + 1)
    lines = [{"step": step, key: reward} for step, reward in zip(steps, rewards, strict=True)]
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_metrics(folder)


def seeds(tmp_path, *rewards, **values):
    return {
        f"grpo_{seed}": logged(tmp_path / str(seed), of_run, train={"seed": seed}, **values)
        for seed, of_run in enumerate(rewards)
    }


def windowed(values, half):
    return [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


@pytest.mark.parametrize("window", [1, 2, 3, 9, 50])
def test_a_run_is_smoothed_over_the_steps_around(tmp_path, window):
    rewards = NOISE.random(30)
    (curve,) = curves_of({"grpo": logged(tmp_path / "r", rewards.tolist())}, window)
    (line,) = curve.lines
    assert (curve.title, line.name, line.steps) == ("Reward", "grpo", tuple(range(1, 31)))
    assert line.values == pytest.approx(windowed(rewards, window // 2), abs=1e-12)
    assert line.raw == ((tuple(rewards),) if window > 1 else ())
    assert (line.low, line.high) == (None, None)


def test_the_inside_of_a_smoothed_line_is_a_convolution():
    values = NOISE.random(40)
    line = line_of("x", list(enumerate(values.tolist(), 1)), 9)
    assert line.values[4:-4] == pytest.approx(np.convolve(values, np.ones(9) / 9, "valid"), abs=1e-12)


def test_windows_count_steps_and_not_values():
    line = line_of("x", [(1, 0.0), (2, 4.0), (10, 8.0)], 9)
    assert line.values == (2.0, 2.0, 8.0)


def test_seeds_of_one_recipe_are_their_mean_with_a_standard_deviation(tmp_path):
    rewards = NOISE.random((3, 20))
    (curve,) = curves_of(seeds(tmp_path, *rewards.tolist()), 5)
    (line,) = curve.lines
    smooth = np.array([windowed(row, 2) for row in rewards])
    mean, sd = smooth.mean(axis=0), smooth.std(axis=0, ddof=1)
    assert line.name == "grpo (3 seeds)"
    assert line.values == pytest.approx(mean, abs=1e-12)
    assert line.low == pytest.approx(mean - sd, abs=1e-12)
    assert line.high == pytest.approx(mean + sd, abs=1e-12)
    assert np.array(line.raw) == pytest.approx(smooth, abs=1e-12)


def test_seeds_of_unequal_length_end_with_the_shortest_and_it_is_said(tmp_path):
    runs = seeds(tmp_path, [0.1] * 8, [0.3] * 5, finished=False)
    (curve,) = curves_of(runs, 1)
    assert curve.lines[0].steps == (1, 2, 3, 4, 5)
    assert curve.lines[0].values == pytest.approx([0.2] * 5)
    assert "grpo (2 seeds): 3 steps that not all seeds have are left out." in curve.about


def test_values_that_are_no_finite_numbers_leave_gaps_and_are_counted(tmp_path):
    (curve,) = curves_of({"grpo": logged(tmp_path / "r", [0.5, math.nan, 0.7, None, math.inf])}, 3)
    (line,) = curve.lines
    assert line.steps == (1, 2, 3, 5)  # null is not logged at all
    assert line.values == (0.5, None, 0.7, None)
    assert "grpo: 2 values that are no finite numbers are left out." in curve.about
    (curve,) = curves_of(seeds(tmp_path, [0.5, math.nan, 0.7], [0.5, 0.6, 0.7]), 1)
    assert curve.lines[0].steps == (1, 3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 60))
def test_a_smoothed_line_stays_between_the_extremes(values, window):
    line = line_of("x", list(enumerate(values, 1)), window)
    slack = 1e-9 * max(1, *map(abs, values))
    assert all(min(values) - slack <= value <= max(values) + slack for value in line.values)
    assert line_of("x", [(step, 2.5) for step in range(1, 9)], window).values == (2.5,) * 8


def test_a_window_below_one_step_is_none(tmp_path):
    with pytest.raises(ValueError, match="window is 0"):
        curves_of({}, 0)


def test_what_no_run_has_logged_is_no_curve_and_sft_stands_apart(tmp_path):
    grpo = logged(tmp_path / "g", [0.2, 0.4], key="silent_groups")
    sft = logged(tmp_path / "s", [2.0, 1.0], kind="sft", key="loss")
    nulls = logged(tmp_path / "n", [None, None], key="kl")
    signal, loss = curves_of({"sft": sft, "grpo": grpo, "nulls": nulls}, 1)
    assert (signal.title, signal.unit, signal.lines[0].values) == ("Signal", "%", (0.8, 0.6))
    assert (loss.title, loss.unit, [line.name for line in loss.lines]) == ("SFT: loss", "nats", ["sft"])


def test_levels_and_rewards_of_the_users_own_have_curves_of_their_own(tmp_path):
    run = training(tmp_path / "r")
    lines = [
        {"step": s, "validation_accuracy": {"L1": 0.5, "L3": 0.25} if s == 2 else {}, "custom": {"m:brief": 0.1 * s}}
        for s in (1, 2)
    ]
    (run / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = curves_of({"grpo": read_metrics(run)}, 1)
    assert [curve.title for curve in curves] == [
        "Reward, m:brief",
        "Validation accuracy, L1",
        "Validation accuracy, L3",
    ]
    assert curves[2].lines[0].steps == (2,)


def test_seconds_are_one_picture_of_one_arm_and_one_a_stage_of_several(tmp_path):
    one = read_metrics(training(tmp_path / "a", steps=2))
    other = read_metrics(training(tmp_path / "b", steps=2, algo={"beta": 0.0}))
    alone = {curve.title: curve for curve in curves_of({"a": one}, 1)}
    assert [line.name for line in alone["Seconds by stage"].lines] == ["whole step", "validation"]
    assert alone["Seconds by stage"].lines[0].values == (6.0, 6.0)
    both = {curve.title: curve for curve in curves_of({"a": one, "b": other}, 1)}
    assert [line.name for line in both["Seconds: whole step"].lines] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"train": {"seed": 1}}, True),
        ({"train": {"seed": 1, "save_every": 7}, "log": {"completions_every": 3}}, True),
        ({"train": {"seed": 1, "learning_rate": 0.5}}, False),
        ({"train": {"seed": 1}, "validation": {"questions": 7}}, False),
        ({"train": {"seed": 1}, "data": {"root": "/nowhere", "seed": 1}}, False),
        ({"train": {"seed": 0}}, False),  # a seed twice is no further seed
    ],
)
def test_runs_of_one_arm_differ_in_their_seeds_alone(tmp_path, values, same):
    runs = {"a_0": read_metrics(training(tmp_path / "a")), "a_1": read_metrics(training(tmp_path / "b", **values))}
    names = [arm.name for arm in arms_of(runs)]
    assert names == (["a (2 seeds)"] if same else ["a_0", "a_1"])


def test_a_cold_start_has_its_own_seed(tmp_path):
    cold = [{"train": {"seed": seed, "prompts_per_step": 2}} for seed in (0, 1)]
    runs = {
        str(seed): read_metrics(training(tmp_path / str(seed), train={"seed": seed}, cold_start=cold[seed]))
        for seed in (0, 1)
    }
    (arm,) = arms_of(runs)
    assert list(arm.runs) == ["0", "1"]


def test_arms_of_one_name_are_called_by_their_runs(tmp_path):
    runs = {
        f"a_{n}": read_metrics(training(tmp_path / str(n), train={"seed": n % 2}, algo={"beta": 0.1 * (n // 2)}))
        for n in range(4)
    }
    assert [arm.name for arm in arms_of(runs)] == ["a_0, a_1", "a_2, a_3"]
