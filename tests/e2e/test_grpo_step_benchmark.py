"""benchmarks/grpo_step.py as a subprocess, tiny: every section, and ratios that follow from the raw times."""

from __future__ import annotations

import json
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = {
    "runs": "2",
    "sizes": "tiny",
    "tokens": "2 3",
    "trl-sizes": "tiny",
    "gemm-size": "tiny",
    "group-size": "4",
    "frames": "2",
    "side": "56",
    "questions": "2",
    "eval-tokens": "2",
    "curve-groups": "2 4",
    "curve-frames": "2",
    "curve-tokens": "2",
    "curve-limit": "6",
}


IN_FORKS = """
import json, os, runpy, sys
sys.path.insert(0, sys.argv[1])
import memory, sections

def measured(work):  # a fork, which need not import everything again
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps(memory._measure(work)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        return json.loads(stream.read())

sections.measured = measured
sys.argv = ["grpo_step.py", *sys.argv[2:]]
runpy.run_path(os.path.join(sys.path[0], "grpo_step.py"), run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a tiny run leaves: result.json and docs/."""
    folder = tmp_path_factory.mktemp("grpo_step")
    (folder / "docs").mkdir()
    page = "before\n<!-- grpo_step: begin -->\nold\n<!-- grpo_step: end -->\nafter\n"
    (folder / "docs" / "performance.md").write_text(page)
    words = [word for name, value in TINY.items() for word in (f"--{name}", *value.split())]
    words += ["--out", str(folder / "result.json"), "--docs", str(folder / "docs")]
    done = forked.run("-c", IN_FORKS, BENCHMARKS, *words)
    assert done.returncode == 0, done.output
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_ratios_follow_from_the_raw_times(result: dict) -> None:
    step, trl = result["steps"][0]["seconds"], result["trl"][0]["seconds"]
    evaluation, growth, gemm = result["evaluation"][0]["seconds"], result["growth"]["seconds"], result["gemm"]
    passes = {name: figures["peak"] - figures["loaded"] for name, figures in result["memory"].items()}
    expected = {
        "step_vs_official": np.median(step["official"]["step"]) / np.median(step["ours"]["step"]),
        "step_vs_trl": np.median(trl["trl"]) / np.median(trl["ours"]["step"]),
        "train_pass": np.median(step["repeated"]["train"]) / np.median(step["ours"]["train"]),
        "train_pass_vs_official": np.median(step["official"]["train"]) / np.median(step["ours"]["train"]),
        "train_peak_memory": passes["ours"] / passes["repeated"],
        "generation_vs_official": np.median(step["official"]["rollout"]) / np.median(step["ours"]["rollout"]),
        "generation_vs_batched": np.median(step["repeated"]["rollout"]) / np.median(step["ours"]["rollout"]),
        "eval_vs_official": np.median(evaluation["official"]) / np.median(evaluation["ours"]),
        "growth_g16_over_g8": np.median(growth["double"]) / np.median(growth["single"]),
        "gemm_share": gemm["flops"] / np.median(gemm["seconds"]) / np.median(gemm["flops_per_second"]),
    }
    assert {name: result["ratios"][name] for name in expected} == pytest.approx(expected)


def test_operations_of_the_training_pass_fall_with_the_repeated_prompt(result: dict) -> None:
    flops = result["check"]["training_pass_flops"]
    assert flops["ours"] < flops["repeated"] < flops["official"]
    assert flops["ours"] > 0


def test_every_raw_time_is_kept(result: dict) -> None:
    assert [(entry["size"], entry["tokens"]) for entry in result["steps"]] == [("tiny", 2), ("tiny", 3)]
    for entry in result["steps"]:
        assert set(entry["seconds"]) == {"ours", "repeated", "official"}
        for stages in entry["seconds"].values():
            parts = np.array([stages[stage] for stage in ("rollout", "reference", "train", "optimizer")])
            assert parts.shape == (4, 2)
            assert (parts > 0).all()
            assert stages["step"] == pytest.approx(parts.sum(0))
    assert [len(entry["seconds"]["trl"]) for entry in result["trl"]] == [2, 2]
    assert {"python", "torch", "transformers", "trl"} <= set(result["versions"])
    assert {"seeds", "settings", "machine"} <= set(result)


def test_the_schedules_compute_the_same(result: dict) -> None:
    differences = result["check"]["largest_logprob_difference"], result["check"]["relative_gradient_difference"]
    assert all(0 <= value < 1e-4 for kind in differences for value in kind.values())


def test_curves_leave_out_unaffordable_baselines(result: dict) -> None:
    groups = {point["value"]: set(point["seconds"]) for point in result["curves"]["group_size"]}
    assert groups == {2: {"ours", "official"}, 4: {"ours"}}


def test_docs_are_written_between_their_markers(folder: Path, result: dict) -> None:
    page = (folder / "docs" / "performance.md").read_text()
    assert page.startswith("before\n<!-- grpo_step: begin -->\n| part")
    assert page.endswith("<!-- grpo_step: end -->\nafter\n")
    assert "old" not in page
    assert f"{result['ratios']['growth_g16_over_g8']:.2f}" in page
    for picture in ("grpo_step.png", "grpo_step_curves.png"):
        assert (folder / "docs" / "img" / picture).read_bytes().startswith(b"\x89PNG")


def test_attention_is_counted_as_its_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rates import FlopCount

    query = torch.randn(2, 6, 10, 8, requires_grad=True)
    key = torch.randn(2, 6, 14, 8)
    with FlopCount() as fused:
        scaled_dot_product_attention(query, key, key)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as plain:
        scaled_dot_product_attention(query, key, key)
    assert fused.total == plain.get_total_flops() > 0
    square = torch.randn(1, 2, 10, 8, requires_grad=True)
    with FlopCount() as full:
        scaled_dot_product_attention(square, square, square).sum().backward()
    with FlopCount() as causal:
        scaled_dot_product_attention(square, square, square, is_causal=True).sum().backward()
    assert causal.total / full.total == pytest.approx(55 / 100)
    assert full.total == 7 * 2 * 2 * 10 * 10 * 8  # two products forward; in backward the scores again and four more
