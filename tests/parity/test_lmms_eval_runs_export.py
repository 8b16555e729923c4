"""The exported package in the real lmms-eval: `make test-lmms`.

Its own task objects and evaluator score the golden answers, and its own Qwen2-VL wrapper answers questions of the
miniature; both are compared with ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from sbr.config.section import Rule
from sbr.integrations.lmms_eval import TAG, export_lmms_eval, task_name
from sbr.mini.build import build
from sbr.model.paths import resolve_model_path
from sbr.types import LETTERS, Sample

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")

from lmms_eval.__main__ import parse_eval_args
from lmms_eval.api.model import lmms
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.tasks import TaskManager

GOLDEN = Path(__file__).parents[1] / "golden" / "answers.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
ANSWERS = [(case, gold) for case in CASES for gold in LETTERS[: len(case["options"])]]
"""Every golden answer, once for each letter that could be right."""
SIDE = 84
"""Pixels of a frame, of the miniature's recipes."""


class Recorded(lmms):
    """Answers with the golden responses."""

    def generate_until(self, requests: list[Any]) -> list[str]:
        return [ANSWERS[request.doc_id][0]["response"] for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("rule", get_args(Rule))
def test_their_evaluator_gives_our_verdicts_on_the_golden_answers(
    rule: Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lmms-eval"])  # what parse_eval_args reads
    image = tmp_path / "images" / "now.png"
    image.parent.mkdir()
    Image.new("RGB", (8, 8)).save(image)
    samples = [
        Sample(
            sample_id=str(i),
            split="L1",
            domain=f"domain {i % 2}",
            scenario=None,
            video_source="golden",
            video_id=f"v{i // 4}",
            video=None,
            image=image,
            task_goal=None,
            question="What next?",
            options=tuple(case["options"]),
            gold=gold,
        )
        for i, (case, gold) in enumerate(ANSWERS)
    ]
    folder = tmp_path / "tasks"
    export_lmms_eval(folder, tmp_path, {"L1": samples}, rule, 256, "test")
    name = task_name("L1")
    found = simple_evaluate(
        model=Recorded(),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        cli_args=parse_eval_args()[1],  # with its default --reasoning_tags, as on the command line
        bootstrap_iters=0,
    )
    assert found is not None
    verdicts = [row["sbr_acc"] for row in sorted(found["samples"][name], key=lambda row: row["doc_id"])]
    right = [case[rule] == gold for case, gold in ANSWERS]
    assert [verdict["extracted"] or None for verdict in verdicts] == [case[rule] for case, _ in ANSWERS]
    assert [bool(verdict["score"]) for verdict in verdicts] == right
    results = found["results"][name]
    assert results["sbr_acc,none"] == pytest.approx(sum(right) / len(right), abs=1e-12)
    for parity in (0, 1):
        half = right[parity::2]
        assert results[f"sbr_acc_domain_{parity},none"] == pytest.approx(sum(half) / len(half), abs=1e-12)
    assert results["sbr_acc_stderr_clustered,none"] > 0


def test_no_built_in_task_has_our_names() -> None:
    built_in = TaskManager().all_tasks
    assert len(built_in) > 100
    assert not {TAG, *(task_name(level) for level in ("L1", "L2", "L3"))} & set(built_in)


def test_their_model_gives_our_answers_on_the_miniature(tmp_path: Path) -> None:
    """Same clips, same frames (clips of at most 8 s), the observation as a JPEG of quality 85 in theirs."""
    root, model = tmp_path / "mini", str(resolve_model_path("sbr:mini"))
    build(root, train=8, val=6, seed=0, workers=1)
    ours = tmp_path / "ours"
    sbr = [os.environ["SBR_PYTHON"], "-m", "sbr"]  # lmms-eval wants a PyAV that is too old for our frames
    size = [f"--frames.height={SIDE}", f"--frames.width={SIDE}"]
    recipe = tmp_path / "eval.toml"
    recipe.write_text(
        f'output_dir = "{ours}"\n[model]\npath = "sbr:mini"\ndtype = "float32"\n[data]\nroot = "{root}"\n'
        "[eval]\nmax_new_tokens = 32\n"
    )
    subprocess.run([*sbr, "eval", str(recipe), *size], check=True, capture_output=True, text=True)
    package = tmp_path / "tasks"
    words = ["export", "lmms-eval", str(package), "--data", str(root), "--max-new-tokens", "32"]
    subprocess.run([*sbr, *words], check=True, capture_output=True, text=True)
    moved = package.rename(tmp_path / "moved")
    pixels = SIDE * SIDE
    knobs = f"pretrained={model},device_map=cpu,max_num_frames=16,min_pixels={pixels},max_pixels={pixels}"
    theirs = tmp_path / "theirs"
    words = [
        "--include_path",
        str(moved),
        "--tasks",
        TAG,
        "--model",
        "qwen2_vl",
        "--model_args",
        knobs,
        "--log_samples",
    ]
    subprocess.run(
        [sys.executable, "-m", "lmms_eval", *words, "--batch_size=1", "--device=cpu", "--output_path", str(theirs)],
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    answers = {}
    for level in ("L1", "L2", "L3"):
        (file,) = theirs.rglob(f"*samples_{task_name(level)}.jsonl")
        for row in map(json.loads, file.read_text("utf-8").splitlines()):
            answers[level, row["sbr_acc"]["sample_id"]] = row
    records = [json.loads(line) for line in (ours / "records.jsonl").read_text("utf-8").splitlines()]
    assert len(records) == len(answers) == 18
    read = {(record["level"], record["sample_id"]): record for record in records}
    for key, row in answers.items():  # the same text has the same verdict, whatever the pictures are
        if row["filtered_resps"] == read[key]["response"]:
            assert row["sbr_acc"]["score"] == read[key]["correct"]
    # The JPEG turns an answer whose first words are nearly as likely as others.
    same = [answers[key]["filtered_resps"] == record["response"] for key, record in read.items()]
    assert sum(same) >= len(same) - 2
    (file,) = theirs.rglob("*results.json")
    results = json.loads(file.read_text("utf-8"))["results"]
    for level in ("L1", "L2", "L3"):
        right = [row["sbr_acc"]["score"] for (name, _), row in answers.items() if name == level]
        assert results[task_name(level)]["sbr_acc,none"] == pytest.approx(sum(right) / len(right), abs=1e-12)
