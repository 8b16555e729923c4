"""verl's own dataset class, loader of rewards and reward manager on what `sbr export verl` writes.

SBR_VERL_PYTHON names a Python that has verl (0.9.1 was tested); `make test-verl` makes one.  SBR_VERL_PYTHONPATH is its
PYTHONPATH: tests/vllm_cpu where a CPU torch lies beside torchvision's wheel for GPUs.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from sbr.config.inputs import DataConfig, FramesConfig, PromptConfig
from sbr.data.sources.select import load_questions, load_training
from sbr.frames.load import load_frames
from sbr.integrations.verl import export_verl, verl_words
from sbr.mini.build import build
from sbr.model.load import load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.reward.answer import extract_answer
from sbr.reward.consistency import consistency
from sbr.reward.format import format_reward
from sbr.types import Sample

PYTHON = os.environ.get("SBR_VERL_PYTHON")
TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "answers.jsonl"
RULES = {"qwen2_vl": "official", "qwen2_5_vl": "care", "qwen3_vl": "strict"}
"""Each family reads the answers by another rule, so that one run of verl a family is enough."""

pytestmark = pytest.mark.skipif(PYTHON is None, reason="SBR_VERL_PYTHON names no Python with verl (make test-verl)")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, 3, 1, 0, 1)
    file = root / "annotations" / "training_6k.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    lines[1]["task_progress_metadata"] = []  # a question without video
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return root


@pytest.fixture(scope="module")
def read(tiny_model_dir: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What verl makes of the export with the official frames, and of the golden answers."""
    rule = RULES[family(tiny_model_dir)]
    folder = tmp_path_factory.mktemp("verl")
    export, out = folder / "export", folder / "out.pt"
    exported = export_verl(export, DataConfig(root=root), FramesConfig())
    patch_size = load_processor(str(tiny_model_dir)).image_processor.patch_size
    words = verl_words(export, exported, patch_size=patch_size)
    weights = ("format_weight=0.5", "consistency_weight=0.25")
    words += [f"+reward.custom_reward_function.reward_kwargs.{word}" for word in (f"rule={rule}", *weights)]
    script = str(TESTS / "with_verl" / "read_export.py")
    given = [str(export), str(tiny_model_dir), str(GOLDEN), json.dumps(words), str(out)]
    path = os.environ.get("SBR_VERL_PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "hf")}
    ended = subprocess.run([str(PYTHON), script, *given], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return torch.load(out, weights_only=False)


def family(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


def questions(root: Path) -> list[Sample]:
    data = DataConfig(root=root)
    return load_training(data) + [
        sample for level in ("L1", "L2", "L3") for sample in load_questions(data, level, None)
    ]


def test_rows_become_our_prompts(tiny_model_dir: Path, root: Path, read) -> None:
    """Token for token, patch for patch: one question has no video, verl's decoder is not ours."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    samples = questions(root)
    assert len(read["rows"]) == len(samples) == 6 and samples[1].video is None
    for sample in samples:
        row = read["rows"][f"seed_bench_r1_{sample.split}/{sample.sample_id}"]
        assert row["ground_truth"] == sample.gold
        prompt = encoder.encode(sample, load_frames(sample, FramesConfig(), encoder.size_factor))
        inputs = row["inputs"]
        assert torch.equal(inputs["input_ids"][0], prompt.input_ids_S)
        assert torch.equal(inputs["mm_token_type_ids"][0], prompt.mm_token_type_ids_S)
        for name in ("pixel_values", "pixel_values_videos"):
            ours = getattr(prompt, name)
            assert (ours is None) == (name not in inputs), name
            if ours is not None:
                torch.testing.assert_close(inputs[name], ours, rtol=0, atol=1e-6)
        for name in ("image_grid_thw", "video_grid_thw", "second_per_grid_ts"):
            ours = getattr(prompt, name)
            assert (ours is None) == (name not in inputs), name
            if ours is not None:
                torch.testing.assert_close(inputs[name], ours, rtol=1e-6, atol=0)


def test_verdicts_are_ours(tiny_model_dir: Path, read) -> None:
    rule = RULES[family(tiny_model_dir)]
    cases = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    right = 0
    for case, found in zip(cases, read["verdicts"], strict=True):
        answer = extract_answer(case["response"], case["options"], rule)
        acc, format_ = float(answer.letter == "B"), format_reward(case["response"])
        consistent = consistency(case["response"], answer, case["options"]).value
        right += case[rule] == "B"
        extra = found["reward_extra_info"]
        assert (extra["pred"] or None, extra["acc"]) == (case[rule], float(case[rule] == "B")), case["name"]
        assert (extra["format"], extra["consistency"]) == (format_, consistent), case["name"]
        assert found["reward_score"] == acc + 0.5 * format_ + 0.25 * consistent, case["name"]
    assert 0 < right < len(cases) and read["accuracy"] == pytest.approx(right / len(cases))
