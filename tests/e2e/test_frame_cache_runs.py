"""The frame cache in use: filled through kills and by two processes, read by evaluation and training without a word."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import av
import forked
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from sbr.cli.main import run
from sbr.config.inputs import DataConfig, FramesConfig
from sbr.config.load import load_recipe
from sbr.config.recipes import EvalRecipe, GrpoRecipe
from sbr.data.rows.annotations import TrainingRow, ValidationRow, write_rows
from sbr.data.sources.seed_bench_r1 import load_level, load_training_samples
from sbr.eval.records import read_records
from sbr.eval.runner import evaluate
from sbr.frames import load as load_module
from sbr.frames.cache import FrameCache, open_cache
from sbr.frames.cache_entry import read_entry
from sbr.frames.load import load_frames
from sbr.train import run_folder
from sbr.train.grpo.loop import train_grpo
from sbr.types import ProgressStep, Sample

CLIPS = 8
ACTIONS = ("boil the kettle", "open cupboard", "wash the red cup", "pour water")
FLAGS = ("--height", "56", "--width", "56", "--max-frames", "4")
FRAMES = FramesConfig(height=56, width=56, max_frames=4)

RUN = "import sys; from sbr.cli.main import run; sys.exit(run(sys.argv[1:]))"
SLOW = f"""
import time
from sbr.frames import load
decode = load.picture_of
def slow(*words):
    time.sleep(0.1)
    return decode(*words)
load.picture_of = slow
{RUN}
"""
KILLED_BEFORE_RENAMING = f"""
import os, signal
from pathlib import Path
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{RUN}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight clips and eight images; half of the questions are for training."""
    root = tmp_path / "root"
    for name in ("annotations", "videos/S", "images/S"):
        (root / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    training, validation = [], []
    for number in range(CLIPS):
        pixels = draw.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels[8]).save(root / "images" / "S" / f"{number}.png")
        with av.open(str(root / "videos" / "S" / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=4)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for picture in pixels[:8]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        common = {
            "sample_id": str(number),
            "video_source": "S",
            "video_id": f"V{number}",
            "video_basename": f"{number}.mp4",
            "current_observation_basename": f"{number}.png",
            "current_observation_frame": 8,
            "task_goal": "make tea",
            "question": "What next in order to make tea?",
            "answer": ACTIONS[0],
            "task_progress_metadata": (ProgressStep("open cupboard", 0, 4),),
        }
        if number % 2:
            training.append(TrainingRow(**common, negative_answers=ACTIONS[1:]))
        else:
            letters = dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), ACTIONS, strict=True))
            validation.append(ValidationRow(**common, **letters, golden_choice_idx="A"))
    write_rows(root / "annotations" / "training_6k.jsonl", training)
    write_rows(root / "annotations" / "validation_L1.jsonl", validation)
    return root


def samples_of(root: Path) -> list[Sample]:
    return load_training_samples(root, "training_6k.jsonl", 0, None) + load_level(root, "L1", None)


def fill(code: str, root: Path, *flags: str) -> forked.Forked:
    return forked.start("-c", code, "data", "cache", root, *FLAGS, *flags)


def whole_entries(root: Path) -> int:
    """Entries in the cache; fails if one of them is not whole."""
    files = list((root / ".cache" / "sbr_frames").glob("??/*"))
    for file in files:
        header = file.read_bytes().split(b"\n", 2)[1]
        read_entry(file, json.loads(header)["key"])
    return len(files)


def drafts(root: Path) -> list[Path]:
    return list((root / ".cache" / "sbr_frames" / "tmp").iterdir())


def figure(output: str, name: str) -> int:
    found = re.search(rf"^{name} +([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[1])


def assert_complete_and_right(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample comes from the cache and is what decoding gives."""
    plain = [load_frames(sample, FRAMES) for sample in samples_of(root)]
    with monkeypatch.context() as patched:
        forbid_decoding(patched)
        cache = open_cache(DataConfig(root=root))
        for sample, expected in zip(samples_of(root), plain, strict=True):
            found = load_frames(sample, FRAMES, cache=cache)
            assert found.video_THWC is not None and expected.video_THWC is not None
            assert np.array_equal(found.video_THWC, expected.video_THWC)
            assert np.array_equal(found.image_HWC, expected.image_HWC)
            assert (found.indices, found.fps, found.total) == (expected.indices, expected.fps, expected.total)


def forbid_decoding(patched: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise AssertionError("decoded")

    patched.setattr(load_module, "read_clip", forbid)
    patched.setattr(load_module, "picture_of", forbid)


def test_killed_at_any_moment_the_next_call_goes_on(root, monkeypatch, capsys):
    there = 0
    for wanted in (1, 9):
        process = fill(SLOW, root, "--workers", "1")
        try:
            while len(list((root / ".cache" / "sbr_frames").glob("??/*"))) < wanted:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.002)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        assert there <= whole_entries(root) < 2 * CLIPS  # nothing that was whole is lost, nothing is half
        there = whole_entries(root)
    killed = fill(KILLED_BEFORE_RENAMING, root, "--workers", "1")  # the worst moment: written and not yet named
    assert killed.wait() == -signal.SIGKILL, killed.output
    assert whole_entries(root) == there and len(drafts(root)) >= 1
    for draft in drafts(root):
        os.utime(draft, (0, 0))  # as if it were hours ago
    assert run(["data", "cache", str(root), *FLAGS]) == 0
    done = capsys.readouterr().out
    assert (figure(done, "hits"), figure(done, "built")) == (there, 2 * CLIPS - there)
    assert figure(done, "entries") == whole_entries(root) == 2 * CLIPS
    assert not drafts(root)
    assert_complete_and_right(root, monkeypatch)


def test_two_processes_fill_one_cache(root, monkeypatch):
    pair = [fill(SLOW, root, "--workers", "2") for _ in range(2)]
    assert [process.wait() for process in pair] == [0, 0]
    outputs = [process.output for process in pair]
    for output in outputs:
        assert figure(output, "hits") + figure(output, "built") == figure(output, "entries") == 2 * CLIPS
    assert sum(figure(output, "built") for output in outputs) >= 2 * CLIPS
    assert whole_entries(root) == 2 * CLIPS and not drafts(root)
    assert_complete_and_right(root, monkeypatch)


def test_the_command_reports_repairs_and_lists_failures(root, monkeypatch, capsys):
    words = ["data", "cache", str(root), *FLAGS]
    assert run(words) == 0
    text = capsys.readouterr().out
    assert "2 frames a second, 4 to 4, of 56 x 56 pixels" in text
    assert (figure(text, "built"), figure(text, "failed")) == (2 * CLIPS, 0)
    assert re.search(r"[\d.]+ s, [\d.,]+ media and [\d.,]+ MB of frames a second; the folder holds 16 entries", text)
    entry = next((root / ".cache" / "sbr_frames").glob("??/*"))
    data = bytearray(entry.read_bytes())
    data[-7] ^= 1
    entry.write_bytes(data)
    clip = root / "videos" / "S" / "3.mp4"
    clip.write_bytes(clip.read_bytes()[:-200])
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 1
    text = capsys.readouterr().out
    assert figure(text, "failed") == 1 and f"video {clip} is no video, damaged or cut short" in text
    assert figure(text, "rebuilt") in (0, 1)  # 0 if the entry is that of the clip
    assert figure(text, "entries") == 2 * CLIPS - 1


def test_the_command_takes_chosen_splits_and_another_folder(root, tmp_path, capsys):
    elsewhere = tmp_path / "frames"
    assert run(["data", "cache", str(root), *FLAGS, "--splits", "L1", "--folder", str(elsewhere)]) == 0
    assert figure(capsys.readouterr().out, "built") == CLIPS and not (root / ".cache").exists()
    cache = FrameCache(root, elsewhere, adds=False)
    for sample in load_level(root, "L1", None):
        load_frames(sample, FRAMES, cache=cache)
    assert (cache.counts.hits, cache.counts.absent) == (CLIPS, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "data root nowhere does not exist"),
        (["--splits", "L4"], "--splits names 'L4'; the splits of seed_bench_r1 are train, L1, L2, L3"),
        (["--splits", "L3"], "has no annotation file of L3"),
        (["--height", "5"], "height is 5"),
        (["--workers", "0"], "--workers is 0"),
        (["--factor", "0"], "--factor is 0"),
        (["--recipe", "nowhere.toml"], "nowhere.toml does not exist"),
    ],
)
def test_wrong_use_is_one_message(root, capsys, words, message):
    assert run(["data", "cache", *([] if words == ["nowhere"] else [str(root)]), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def written_recipe(file: Path, root: Path, model: Path) -> Path:
    file.write_text(
        f'output_dir = "{file.parent / "out"}"\n[model]\npath = "{model}"\ndtype = "float32"\n'
        f'[data]\nroot = "{root}"\n[frames]\nheight = 64\nwidth = 64\nmax_frames = 4\n'
    )
    return file


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_an_evaluation_reads_what_the_command_kept(root, tiny_model_dirs, tmp_path, monkeypatch, capsys, family):
    """The sizes are those of the recipe's model: 56 for Qwen2-VL, 64 for Qwen3-VL."""
    file = written_recipe(tmp_path / "eval.toml", root, tiny_model_dirs[family])
    words = ["--eval.levels", "L1", "--eval.max_new_tokens", "4"]
    plain = load_recipe(EvalRecipe, file, [*words, "--data.cache", "off", "--output_dir", str(tmp_path / "plain")])
    evaluate(plain)
    assert run(["data", "cache", str(root), "--recipe", str(file)]) == 0
    side = 56 if family == "qwen2_vl" else 64
    assert f"of {side} x {side} pixels" in capsys.readouterr().out
    forbid_decoding(monkeypatch)
    evaluate(load_recipe(EvalRecipe, file, words))
    pair = [read_records(folder / "records.jsonl") for folder in (tmp_path / "plain", tmp_path / "out")]
    found, expected = ([replace(record, seconds=0.0) for record in records] for records in pair)
    assert found == expected and len(found) == CLIPS // 2
    evaluate(plain.model_copy(update={"data": DataConfig(root=root, cache="on")}))  # the same evaluation, so it goes on


def test_a_training_reads_what_an_earlier_one_kept(root, tiny_model_dir, tmp_path, monkeypatch):
    file = written_recipe(tmp_path / "grpo.toml", root, tiny_model_dir)
    words = ["--rollout.group_size", "2", "--rollout.max_new_tokens", "4", "--train.prompts_per_step", "2"]
    words += ["--train.max_steps", "3", "--train.learning_rate", "1e-3", "--algo.beta", "0"]
    recipes = {
        cache: load_recipe(GrpoRecipe, file, [*words, "--data.cache", cache, "--output_dir", str(tmp_path / cache)])
        for cache in ("off", "on", "auto")
    }
    train_grpo(recipes["off"], resume=False)
    assert not (root / ".cache").exists()
    train_grpo(recipes["on"], resume=False)
    assert whole_entries(root) == CLIPS  # the clips and images of the four training rows
    forbid_decoding(monkeypatch)
    train_grpo(recipes["auto"], resume=False)
    weights = {cache: load_file(tmp_path / cache / "final" / "model.safetensors") for cache in recipes}
    answers = {(tmp_path / cache / run_folder.COMPLETIONS).read_text() for cache in recipes}
    assert len(answers) == 1 and answers != {""}
    for name, weight in weights["off"].items():
        assert weight.equal(weights["on"][name]) and weight.equal(weights["auto"][name]), name
    run_folder.check_start(recipes["off"].model_copy(update={"data": recipes["on"].data}), resume=True)
