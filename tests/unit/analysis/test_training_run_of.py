"""From an evaluation to the training run whose model it asked."""

import pytest
from report_runs import answer, evaluation, sample_of, training

from sbr.analysis.evaluated import read_evaluated, training_run_of


def asked(tmp_path, model):
    folder = evaluation(tmp_path / "eval", [answer(sample_of(0), "A")], model=model)
    (run,) = read_evaluated({"x": folder})
    return training_run_of(run)


@pytest.mark.parametrize("name", ["final", "checkpoint-100"])
def test_a_model_of_a_run(tmp_path, name):
    run = training(tmp_path / "grpo")
    assert asked(tmp_path, run / name) == run


def test_the_final_model_of_a_cold_start(tmp_path):
    run = training(tmp_path / "grpo")
    cold = training(run / "cold_start", "sft")
    assert asked(tmp_path, cold / "final") == cold


@pytest.mark.parametrize(
    "model", ["sbr:mini", "Qwen/Qwen2-VL-7B-Instruct", "merged", "gone/final", "best/checkpoint-best"]
)
def test_models_of_no_run(tmp_path, model):
    training(tmp_path / "best")
    assert asked(tmp_path, model if ":" in model or "Qwen" in model else tmp_path / model) is None


def test_the_folder_of_an_evaluation_is_no_run(tmp_path):
    other = evaluation(tmp_path / "other", [answer(sample_of(0), "A")])
    assert asked(tmp_path, other / "final") is None
