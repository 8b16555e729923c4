"""GRPO from files to checkpoint on a tiny model: exact accumulation, exact resume, kill -9, plain loading, refusals."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import forked
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from sbr.algo.advantages import group_advantages
from sbr.algo.select import select
from sbr.config.algo import ALGORITHMS
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.config.section import Section
from sbr.data.rows.annotations import TrainingRow, write_rows
from sbr.errors import BusyError, CheckpointError, ConfigError, MediaError, NotFiniteError
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder
from sbr.resume.lock import locked
from sbr.rollout.generate import Sampling, generate
from sbr.train.grpo.loop import train_grpo
from sbr.train.grpo.update import make_microbatches, update
from sbr.train.learner import Metrics, Watcher
from sbr.train.trainer import Policy, Trainer
from sbr.types import Frames, ProgressStep, RolloutGroup, Sample

CPU = torch.device("cpu")
ACTIONS = ("boil the kettle", "open cupboard", "wash the red cup", "pour water", "take spoon")
STEPS = 5
GUARD = ["best_step", "p_best", "p_start", "stopped"]
TIMINGS = ("tokens_per_second", "seconds")
"""Fields that begin with these differ from run to run; all others repeat exactly."""


@pytest.fixture(scope="module")
def model_dir(
    tiny_model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    sbr_sample: Callable[..., Sample],
    sbr_frames: Callable[..., Frames],
) -> Path:
    folder = tmp_path_factory.mktemp("answering") / "model"
    return answering_model(tiny_model_dir, folder, sbr_sample, sbr_frames)


def answering_model(source: Path, folder: Path, sbr_sample, sbr_frames) -> Path:
    """The tiny model after a few steps on "<answer>(random letter)</answer>": rewards are neither all 0 nor all 1."""
    shutil.copytree(source, folder)
    model = load_model(ModelConfig(path=str(folder), dtype="float32"), CPU)
    processor = load_processor(str(folder))
    encoder = PromptEncoder(processor, PromptConfig())
    side = 2 * encoder.size_factor
    prompt = encoder.encode(sbr_sample(video=False), sbr_frames(count=0, height=side, width=side))
    answers = [
        processor.tokenizer(f"<answer>{letter}</answer><|im_end|>", add_special_tokens=False).input_ids
        for letter in "ABCD"
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        found = completion_logprobs(model, [prompt], [answers])
        loss = -found.logprobs_BL.sum() / found.mask_BL.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven training rows; the last two have no progress and so no video."""
    root = tmp_path_factory.mktemp("data")
    source = "EpicKitchens"
    for name in ("annotations", f"videos/{source}", f"images/{source}"):
        (root / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows = []
    for number in range(7):
        image_HWC = draw.integers(0, 256, (56, 56, 3), dtype=np.uint8)
        Image.fromarray(image_HWC).save(root / "images" / source / f"{number}.png")
        progress = () if number >= 5 else (ProgressStep("open cupboard", 0, 4),)
        if progress:
            write_video(
                root / "videos" / source / f"{number}.mp4", draw.integers(0, 256, (6, 56, 56, 3), dtype=np.uint8)
            )
        answer = ACTIONS[number % len(ACTIONS)]
        rows.append(
            TrainingRow(
                sample_id=str(100 + number),
                video_source=source,
                video_id=f"P{number}",
                video_basename=f"{number}.mp4",
                current_observation_basename=f"{number}.png",
                current_observation_frame=5,
                task_goal="make tea",
                question="What next in order to make tea?",
                answer=answer,
                task_progress_metadata=progress,
                negative_answers=tuple(action for action in ACTIONS if action != answer),
            )
        )
    write_rows(root / "annotations" / "training_6k.jsonl", rows)
    return root


def write_video(file: Path, frames_THWC: np.ndarray) -> None:
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(4))
        stream.height, stream.width, stream.pix_fmt = 56, 56, "yuv420p"
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def make_recipe(model_dir: Path, data_root: Path) -> Callable[..., GrpoRecipe]:
    """make_recipe(output_dir, **{"train.seed": 3}): a small recipe with a reference, a schedule and warm-up."""

    def make(output_dir: Path, changes: Mapping[str, Any] | None = None) -> GrpoRecipe:
        values: dict[str, Any] = {
            "output_dir": output_dir,
            "model": {"path": str(model_dir), "dtype": "float32"},
            "data": {"root": data_root},
            "frames": {"height": 56, "width": 56, "max_frames": 4},
            "rollout": {"group_size": 4, "max_new_tokens": 20},
            "algo": {"beta": 0.1},
            "train": {
                "prompts_per_step": 3,
                "prompts_per_microbatch": 2,
                "max_steps": STEPS,
                "learning_rate": 1e-3,
                "warmup_ratio": 0.2,
                "save_every": 2,
            },
            "log": {"completions_every": 2},
        }
        for key, value in (changes or {}).items():
            section, _, name = key.partition(".")
            if name:
                values.setdefault(section, {})[name] = value
            else:
                values[section] = value
        return validate(GrpoRecipe, values, "test")

    return make


@pytest.fixture(scope="module")
def finished(make_recipe: Callable[..., GrpoRecipe], tmp_path_factory: pytest.TempPathFactory) -> GrpoRecipe:
    """An uninterrupted run."""
    recipe = make_recipe(tmp_path_factory.mktemp("finished") / "run")
    train_grpo(recipe, resume=False)
    return recipe


def write_toml(recipe: Section, file: Path) -> Path:
    """The recipe as a user would write it."""

    def lines(values: Mapping[str, Any], section: str) -> Iterator[str]:
        yield from (f"{json.dumps(k)} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, Mapping))
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield f"[{section}{key}]"
                yield from lines(value, f"{section}{key}.")

    values = json.loads(recipe.model_dump_json(exclude_none=True))
    file.write_text("\n".join(lines(values, "")) + "\n", encoding="utf-8")
    return file


def launch(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Python with these words, one thread a process."""
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
"""`torchrun` by its module: no GPU, and nothing that tells accelerate so."""


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def repeatable(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the fields that measure time."""
    lines = read_lines(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if not key.startswith(TIMINGS)} for line in lines]


def assert_same_run(folder: Path, other: Path) -> None:
    assert repeatable(folder) == repeatable(other)
    assert read_lines(folder / "completions.jsonl") == read_lines(other / "completions.jsonl")
    weights, others = (load_file(path / "final" / "model.safetensors") for path in (folder, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name


def test_run_leaves_metrics_checkpoints_and_a_model_that_changed(finished, model_dir):
    folder = finished.output_dir
    lines = read_lines(folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "checkpoint-4",
        "checkpoint-5",
        "completions.jsonl",
        "final",
        "inputs.json",
        "metrics.jsonl",
        "recipe.json",
    ]
    # Warm-up over one of five steps, then linear to zero.
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.0, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    # Until the first update the policy is the reference, bit for bit.
    assert [line["kl"] for line in lines[:2]] == [0.0, 0.0]
    assert min(line["kl"] for line in lines[2:]) > 0
    assert all(line["ratio_mean"] == 1.0 and line["rollout_mismatch"] < 1e-5 for line in lines)
    assert any(0 < line["reward_mean"] < 1 and line["silent_groups"] < 1 for line in lines)
    assert lines[-1]["epoch"] == pytest.approx(5 * 3 / 7)
    before, after = load_file(model_dir / "model.safetensors"), load_file(folder / "final" / "model.safetensors")
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before}
    assert min(moved.values()) > 0  # the vision tower learns too
    assert max(moved.values()) < 5e-3  # at most the sum of the learning rates, up to Adam's overshoot


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_other_families_train_and_resume(tiny_model_dirs, make_recipe, sbr_sample, sbr_frames, tmp_path, family):
    start = answering_model(tiny_model_dirs[family], tmp_path / "model", sbr_sample, sbr_frames)
    changes = {"model.path": str(start), "model.gradient_checkpointing": True, "train.max_steps": 3}
    recipe = make_recipe(tmp_path / "run", changes)
    train_grpo(recipe, resume=False)
    lines = repeatable(recipe.output_dir)
    assert len(lines) == 3
    assert max(line["rollout_mismatch"] for line in lines) < 1e-4
    whole, before = (load_file(folder / "model.safetensors") for folder in (recipe.output_dir / "final", start))
    moved = {name for name, weight in whole.items() if not torch.equal(weight, before[name])}
    assert moved == whole.keys()
    shutil.rmtree(recipe.output_dir / "final")
    shutil.rmtree(recipe.output_dir / "checkpoint-3")
    train_grpo(recipe, resume=True)
    again = load_file(recipe.output_dir / "final" / "model.safetensors")
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
    loaded = AutoModelForImageTextToText.from_pretrained(recipe.output_dir / "final")
    assert loaded.config.model_type == family


def test_completions_say_what_was_rewarded(finished):
    lines = read_lines(finished.output_dir / "completions.jsonl")
    assert sorted({line["step"] for line in lines}) == [1, 2, 4]
    assert [(line["slot"], line["index"]) for line in lines[:12]] == [(p, g) for p in range(3) for g in range(4)]
    for line in lines:
        assert line["reward"] == float(line["extracted"] is not None and line["extracted"] == line["gold"])
    first = read_lines(finished.output_dir / "metrics.jsonl")[0]
    rewards_PG = np.array([line["reward"] for line in lines[:12]]).reshape(3, 4)
    assert first["reward_mean"] == pytest.approx(rewards_PG.mean())
    assert first["reward_std"] == pytest.approx(rewards_PG.std(axis=1, ddof=1).mean())
    assert first["silent_groups"] == pytest.approx((rewards_PG.max(1) == rewards_PG.min(1)).mean())
    assert first["tokens_mean"] == pytest.approx(np.mean([line["tokens"] for line in lines[:12]]))


class BrokenOffError(Exception):
    pass


class StopAfter(Watcher):
    """A watcher that breaks the run off after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def began(self, name: str, done: int, total: int) -> None:
        assert (name, done, total) == ("GRPO", 0, STEPS)

    def stepped(self, metrics: Metrics) -> None:
        if metrics.step == self.step:
            raise BrokenOffError


def test_resumed_run_equals_the_uninterrupted_one(finished, make_recipe, model_dir, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(model_dir, start)
    recipe = make_recipe(tmp_path / "run", {"model.path": str(start)})
    with pytest.raises(BrokenOffError):
        train_grpo(recipe, resume=False, watcher=StopAfter(3))
    assert [line["step"] for line in read_lines(recipe.output_dir / "metrics.jsonl")] == [1, 2, 3]
    weights = load_file(start / "model.safetensors")
    save_file({name: weight + 0.01 for name, weight in weights.items()}, start / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"start/model\.safetensors \(.*\) has changed"):  # the reference
        train_grpo(recipe, resume=True)
    shutil.copy(model_dir / "model.safetensors", start)
    train_grpo(recipe, resume=True)
    assert_same_run(recipe.output_dir, finished.output_dir)
    train_grpo(recipe, resume=True)  # a finished run stays as it is
    assert_same_run(recipe.output_dir, finished.output_dir)


KILL_IN_THE_SECOND_SAVE = """
import os, signal, sys
from pathlib import Path
from sbr.config.load import read_resolved
from sbr.config.recipes import GrpoRecipe
from sbr.config.section import Section
from sbr.train import checkpoint
from sbr.train.grpo import loop

saved = []
save_tensors = checkpoint.save_tensors

def save(folder, tensors):
    save_tensors(folder, tensors)
    saved.append(folder)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.save_tensors = save
loop.train_grpo(read_resolved(GrpoRecipe, Path(sys.argv[1])), resume=False)
"""


def test_kill_9_while_saving_then_resume_gives_the_same_run(finished, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run")
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json(), encoding="utf-8")
    process = forked.run("-c", KILL_IN_THE_SECOND_SAVE, file)
    assert process.returncode == -signal.SIGKILL, process.output
    folder = recipe.output_dir
    assert (folder / ".checkpoint-4.tmp").exists()
    assert not (folder / "checkpoint-4").exists()
    assert read_lines(folder / "metrics.jsonl")[-1]["step"] == 4
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 5, "los')  # and a line that was cut in the middle
    train_grpo(recipe, resume=True)
    assert_same_run(folder, finished.output_dir)
    assert [path.name for path in folder.glob(".*.tmp")] == []


STOPPED_AFTER_THE_SECOND_STEP = """
import os, signal, sys
from sbr.cli import main, training

class Bar(training.TrainingBar):
    def stepped(self, metrics):
        super().stepped(metrics)
        if metrics.step == 2 and os.environ["RANK"] == os.environ["SIGNALLED"]:
            os.kill(os.getpid(), signal.SIGTERM)

training.TrainingBar = Bar
sys.exit(main.run(["grpo", sys.argv[1]]))
"""


def test_sigterm_writes_a_checkpoint_and_the_resumed_run_is_the_same(finished, make_recipe, tmp_path, monkeypatch):
    recipe = make_recipe(tmp_path / "run", {"train.save_every": 100})
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED_AFTER_THE_SECOND_STEP)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("SIGNALLED", "0")
    done = forked.run(script, write_toml(recipe, tmp_path / "recipe.toml"))
    monkeypatch.undo()
    assert done.returncode == 128 + signal.SIGTERM, done.output
    message = " ".join(done.output.split())
    assert "SIGTERM: the step under way is finished" in message
    assert "SIGTERM: stopped after step 3 of 5; checkpoint-3 is written" in message
    assert "Traceback" not in message
    assert [line["step"] for line in read_lines(recipe.output_dir / "metrics.jsonl")] == [1, 2, 3]
    train_grpo(recipe, resume=True)
    assert_same_run(recipe.output_dir, finished.output_dir)


def test_a_gradient_that_is_not_finite_stops_the_run_and_what_it_learned_from_is_kept(
    make_recipe, tmp_path, monkeypatch
):
    norms = iter([1.0, float("nan")])
    monkeypatch.setattr("sbr.train.gradients.clip_grad_norm_", lambda *_: torch.tensor(next(norms)))
    recipe = make_recipe(tmp_path / "run", {"train.max_grad_norm": 1e9, "log.completions_every": 1})
    with pytest.raises(NotFiniteError, match=r"step 2: the gradient norm is nan; .*not_finite_step_2_process_0\.jsonl"):
        train_grpo(recipe, resume=False)
    kept = read_lines(recipe.output_dir / "not_finite_step_2_process_0.jsonl")
    assert {line["step"] for line in kept} == {2}
    assert len(kept) == 3 * 4 and all(line["response"] for line in kept)
    assert [line["step"] for line in read_lines(recipe.output_dir / "metrics.jsonl")] == [1]
    assert not (recipe.output_dir / "checkpoint-2").exists()


def test_damaged_training_state_is_named(finished, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run")
    shutil.copytree(finished.output_dir, recipe.output_dir)
    shutil.rmtree(recipe.output_dir / "final")
    (file,) = (recipe.output_dir / "checkpoint-5" / "training_state" / "tensors").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"checkpoint-5/training_state/tensors is damaged.*remove"):
        train_grpo(recipe, resume=True)
    shutil.rmtree(recipe.output_dir / "checkpoint-5")
    train_grpo(recipe, resume=True)
    assert_same_run(recipe.output_dir, finished.output_dir)


def test_a_finished_run_under_a_constant_schedule_goes_on_as_if_it_had_never_stopped(make_recipe, tmp_path):
    constant = {"train.schedule": "constant", "train.warmup_ratio": 0.0}
    whole = make_recipe(tmp_path / "whole", {**constant, "train.max_steps": 4})
    train_grpo(whole, resume=False)
    train_grpo(make_recipe(tmp_path / "parts", {**constant, "train.max_steps": 2}), resume=False)
    longer = make_recipe(tmp_path / "parts", {**constant, "train.max_steps": 4})
    train_grpo(longer, resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    with pytest.raises(CheckpointError, match="has taken 4 steps, and the recipe asks for 2"):
        train_grpo(make_recipe(tmp_path / "parts", {**constant, "train.max_steps": 2}), resume=True)


def test_looks_at_levels_change_nothing_of_what_is_learned(finished, make_recipe, data_root, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    write_level(root, "L1", 6)
    write_level(root, "L3", 3)
    looks = {"levels": ("L1", "L3"), "every": 2, "max_new_tokens": 20, "batch_size": 4}
    recipe = make_recipe(tmp_path / "run", {"data.root": root, "validation": looks})
    train_grpo(recipe, resume=False)
    lines = read_lines(recipe.output_dir / "metrics.jsonl")
    seen = [line.pop("validation_accuracy") for line in lines]
    assert [list(levels) for levels in seen] == [[], ["L1", "L3"], [], ["L1", "L3"], ["L1", "L3"]]
    assert all(round(6 * levels["L1"], 9).is_integer() for levels in seen if levels)
    guard = [line.pop("guard") for line in lines]
    assert [sorted(found) for found in guard] == [[], GUARD, [], GUARD, GUARD]
    plain = [{**line, "validation_accuracy": {}, "guard": {}} for line in lines]
    times = [{key: value for key, value in line.items() if not key.startswith(TIMINGS)} for line in plain]
    assert times == repeatable(finished.output_dir)
    weights, others = (load_file(r.output_dir / "final" / "model.safetensors") for r in (recipe, finished))
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


def write_level(root: Path, level: str, rows: int) -> None:
    """The first training rows as a level; the gold answers go round the letters."""
    lines = [json.loads(line) for line in (root / "annotations" / "training_6k.jsonl").read_text().splitlines()]
    text = ""
    for number, line in enumerate(lines[:rows]):
        options = [line["answer"], *line.pop("negative_answers")[:3]]
        options.insert(number % 4, options.pop(0))
        choices = {f"choice_{name}": option for name, option in zip("abcd", options, strict=True)}
        more = {"domain": "Work", "scenario": "a kitchen", "task_start_frame": 0} if level == "L3" else {}
        text += json.dumps(line | choices | more | {"golden_choice_idx": "ABCD"[number % 4]}) + "\n"
    (root / "annotations" / f"validation_{level}.jsonl").write_text(text, encoding="utf-8")


def test_two_runs_at_once_one_is_told_who_the_other_is(make_recipe, tmp_path):
    """Also two that continue: who comes second changes nothing."""
    recipe = make_recipe(tmp_path / "run", {"train.max_steps": 1})
    with locked(recipe.output_dir), pytest.raises(BusyError, match=r"is being written by process \d+"):
        train_grpo(recipe, resume=False)  # the other has not written anything yet

    class Second(Watcher):
        def began(self, name: str, done: int, total: int) -> None:
            for resume in (False, True):
                refusal = r"already holds a run|is being written by process \d+"
                with pytest.raises((BusyError, ConfigError), match=refusal):
                    train_grpo(recipe, resume=resume)

        def stepped(self, metrics: Metrics) -> None:
            pass

    train_grpo(recipe, resume=False, watcher=Second())
    assert [line["step"] for line in read_lines(recipe.output_dir / "metrics.jsonl")] == [1]


def test_on_a_gpu_the_watcher_is_told_what_was_taken(make_recipe, tmp_path, monkeypatch):
    told = []

    class Told(Watcher):
        def took(self, recipe, processes: int, taken: int) -> None:
            told.append((recipe, processes, taken))

    recipe = make_recipe(tmp_path / "run", {"train.max_steps": 2})
    monkeypatch.setattr("sbr.train.run._taken", lambda device: 5 << 30)  # nothing counts the memory of a CPU
    train_grpo(recipe, resume=False, watcher=Told())
    assert told == [(recipe, 1, 5 << 30)] * 2


def test_refuses_a_used_folder_and_another_recipe(finished, make_recipe):
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume"):
        train_grpo(finished, resume=False)
    other = make_recipe(finished.output_dir, {"train.learning_rate": 2e-3, "rollout.group_size": 8})
    with pytest.raises(CheckpointError) as caught:
        train_grpo(other, resume=True)
    assert "train.learning_rate: 0.001 then, 0.002 now" in str(caught.value)
    assert "rollout.group_size: 4 then, 8 now" in str(caught.value)
    assert "prompts_per_step" not in str(caught.value)


def test_an_unreadable_video_stops_the_run_and_is_named(make_recipe, data_root, tmp_path):
    broken = tmp_path / "data"
    shutil.copytree(data_root, broken)
    file = broken / "videos" / "EpicKitchens" / "2.mp4"
    file.write_text("no video")
    recipe = make_recipe(tmp_path / "run", {"data.root": broken, "train.prompts_per_step": 7})
    with pytest.raises(MediaError, match=r"EpicKitchens/2\.mp4"):
        train_grpo(recipe, resume=False)


def test_checkpoint_is_an_ordinary_hugging_face_folder(finished, sbr_sample, sbr_frames):
    for name in ("checkpoint-5", "final"):
        folder = finished.output_dir / name
        plain: Any = AutoModelForImageTextToText.from_pretrained(folder)
        processor: Any = AutoProcessor.from_pretrained(folder)
        assert plain.dtype == torch.float32
        assert plain.generation_config.eos_token_id == [
            processor.tokenizer.eos_token_id,
            processor.tokenizer.pad_token_id,
        ]
        prompt = PromptEncoder(processor, PromptConfig()).encode(sbr_sample(), sbr_frames())
        completion = processor.tokenizer("<answer>B</answer><|im_end|>").input_ids
        ours = completion_logprobs(
            load_model(ModelConfig(path=str(folder), dtype="float32"), CPU), [prompt], [[completion]]
        )
        ids = torch.cat([prompt.input_ids_S, torch.tensor(completion)])[None]
        kinds = torch.nn.functional.pad(prompt.mm_token_type_ids_S, (0, len(completion)))[None]
        with torch.no_grad():
            logits = plain(
                input_ids=ids,
                mm_token_type_ids=kinds,
                pixel_values=prompt.pixel_values,
                image_grid_thw=prompt.image_grid_thw,
                pixel_values_videos=prompt.pixel_values_videos,
                video_grid_thw=prompt.video_grid_thw,
            ).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None]).squeeze(-1)
        torch.testing.assert_close(ours.logprobs_BL[0].detach(), expected, atol=1e-5, rtol=0)


def make_trainer(model_dir: Path) -> Trainer:
    """Plain gradient descent with rate 1: the change of a weight is its gradient."""
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    model = load_model(ModelConfig(path=str(model_dir), dtype="float32"), CPU)
    reference = load_model(ModelConfig(path=str(model_dir), dtype="float32"), CPU)
    for parameter in reference.parameters():
        parameter.data += 0.02
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    fixed = partial(nullcontext, Policy(reference))
    return Trainer(accelerator, Policy(model), fixed, load_processor(str(model_dir)), optimizer, schedule)


def gradients(trainer: Trainer, groups: list[RolloutGroup], advantages_PG: torch.Tensor, size: int, recipe: GrpoRecipe):
    """The accumulated gradient of one update, and its figures."""
    start = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    algorithm = select(recipe.algo, recipe.rollout.max_new_tokens)
    batches = make_microbatches(trainer, algorithm, groups, advantages_PG, size, updates=1)
    figures, norm = update(trainer, algorithm, batches, max_grad_norm=1e9, step=1)
    found = {name: start[name] - weight.detach() for name, weight in trainer.model.named_parameters()}
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            weight.copy_(start[name])
    return found, figures, norm


def three_groups(trainer: Trainer, sbr_sample, sbr_frames) -> list[RolloutGroup]:
    """Three prompts, one without video, with three completions of different lengths each."""
    encoder = PromptEncoder(trainer.processor, PromptConfig())
    samples = [sbr_sample(str(i), video=i != 1) for i in range(3)]
    prompts = [encoder.encode(s, sbr_frames(seed=i, count=4 if s.video else 0)) for i, s in enumerate(samples)]
    completions = generate(trainer.model, encoder.tokenizer, prompts, 3, Sampling(max_new_tokens=12), [1, 2, 3])
    assert len({len(c.token_ids) for group in completions for c in group}) > 1
    return [RolloutGroup(*parts) for parts in zip(samples, prompts, completions, strict=True)]


def test_groups_without_signal_cost_no_pass_and_change_nothing(
    model_dir, make_recipe, sbr_sample, sbr_frames, tmp_path
):
    trainer = make_trainer(model_dir)
    trainer = dataclasses.replace(trainer, reference=None)
    groups = three_groups(trainer, sbr_sample, sbr_frames)
    advantages_PG = group_advantages(torch.tensor([[0.1, 0.1, 0.1], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), eps=1e-4)
    no_kl = select(make_recipe(tmp_path, {"algo.beta": 0.0}).algo, 20)
    rows = {}
    for kept, algorithm in (("all", dataclasses.replace(no_kl, silent_groups_teach=True)), ("signal", no_kl)):
        for size in (1, 3):
            batches = make_microbatches(trainer, algorithm, groups, advantages_PG, size, updates=1)
            start = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
            figures, norm = update(trainer, algorithm, batches, max_grad_norm=1e9, step=1)
            change = {name: start[name] - weight.detach() for name, weight in trainer.model.named_parameters()}
            trainer.model.load_state_dict(start, strict=False)
            rows[kept, size] = ([figure.loss.rows for figure in figures], change, norm)
    assert [rows["all", size][0] for size in (1, 3)] == [[3, 3, 3], [9]]
    assert [rows["signal", size][0] for size in (1, 3)] == [[3], [3]]
    scale = max(gradient.abs().max().item() for gradient in rows["all", 3][1].values())
    assert scale > 0
    for key, (_, change, norm) in rows.items():
        assert norm == pytest.approx(rows["all", 3][2], rel=1e-5), key
        for name, gradient in rows["all", 3][1].items():
            torch.testing.assert_close(change[name], gradient, atol=1e-5 * scale, rtol=0, msg=f"{key} {name}")
    # No signal at all: one group stays, because every process of a data-parallel run has to run a backward pass.
    (batch,) = make_microbatches(trainer, no_kl, groups, torch.zeros(3, 3), 1, updates=1)
    (figure,), norm = update(trainer, no_kl, (batch,), max_grad_norm=1e9, step=1)
    assert (figure.loss.rows, norm) == (3, 0.0)
    # With a KL term a silent group does have a gradient.
    with_kl = select(make_recipe(tmp_path, {"algo.beta": 0.1}).algo, 20)
    assert len(make_microbatches(trainer, with_kl, groups, torch.zeros(3, 3), 1, updates=1)) == 3


@pytest.mark.parametrize("name", ALGORITHMS)
def test_accumulation_equals_the_full_batch(model_dir, make_recipe, sbr_sample, sbr_frames, tmp_path, name):
    trainer = make_trainer(model_dir)
    groups = three_groups(trainer, sbr_sample, sbr_frames)
    advantages_PG = torch.tensor([[1.0, -0.5, -0.5], [0.2, 0.3, -0.5], [-1.0, 2.0, -1.0]])
    recipe = make_recipe(tmp_path, {"algo": {"name": name}})
    whole, (figure,), norm = gradients(trainer, groups, advantages_PG, 3, recipe)
    scale = max(gradient.abs().max().item() for gradient in whole.values())
    if getattr(recipe.algo, "beta", 0.0):
        assert figure.loss.kl is not None
        assert figure.loss.kl > 0
    for size in (1, 2):  # 2: microbatches of unequal size
        parts, figures, part_norm = gradients(trainer, groups, advantages_PG, size, recipe)
        assert len(figures) == {1: 3, 2: 2}[size]
        assert part_norm == pytest.approx(norm, rel=1e-5)
        for name, gradient in whole.items():
            torch.testing.assert_close(parts[name], gradient, atol=1e-5 * scale, rtol=0, msg=name)
        assert sum(f.loss.loss for f in figures) == pytest.approx(figure.loss.loss, abs=1e-6)
    doubled, _, _ = gradients(trainer, groups, 2 * advantages_PG, 3, recipe)
    weight = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.allclose(doubled[weight], whole[weight], atol=1e-3 * scale)  # the comparison above can fail


def test_second_update_of_a_rollout_moves_away_from_the_old_policy(make_recipe, tmp_path):
    changes = {"algo.updates_per_rollout": 2, "algo.beta": 0.0, "train.max_steps": 2, "train.warmup_ratio": 0.0}
    recipe = make_recipe(tmp_path / "run", changes)
    train_grpo(recipe, resume=False)
    first = read_lines(recipe.output_dir / "metrics.jsonl")[0]
    assert first["kl"] is None
    assert first["ratio_mean"] != 1.0
    assert first["ratio_mean"] == pytest.approx(1.0, abs=0.5)


def test_the_policy_is_what_samples_at_another_temperature(make_recipe, tmp_path):
    """Rollouts, training pass, old policy and reference divide logits by it: nothing has moved before the update."""
    changes = {
        "rollout.temperature": 0.7,
        "train.max_steps": 1,
        "algo.updates_per_rollout": 2,
        "log.completions_every": 1,
    }
    recipe = make_recipe(tmp_path / "run", {**changes, "train.warmup_ratio": 0.0, "train.learning_rate": 1e-30})
    train_grpo(recipe, resume=False)
    (line,) = read_lines(recipe.output_dir / "metrics.jsonl")
    assert line["rollout_mismatch"] < 1e-5
    assert (line["kl"], line["ratio_mean"]) == (pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-6))


def test_same_seed_same_run_and_another_seed_another(finished, make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {"train.seed": 1, "train.max_steps": 1, "algo.beta": 0.0})
    random.seed(99)  # nothing may depend on global random states
    torch.manual_seed(99)
    train_grpo(recipe, resume=False)
    mine = read_lines(recipe.output_dir / "completions.jsonl")
    others = read_lines(finished.output_dir / "completions.jsonl")[: len(mine)]
    assert [line["response"] for line in mine] != [line["response"] for line in others]
    again = make_recipe(tmp_path / "again", {"train.max_steps": 1, "algo.beta": 0.0})
    train_grpo(again, resume=False)
    assert read_lines(again.output_dir / "completions.jsonl") == others


def test_group_of_one_is_refused_before_anything_is_loaded(make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {"rollout.group_size": 1})
    with pytest.raises(ConfigError, match="no signal"):
        train_grpo(recipe, resume=False)
    assert not (tmp_path / "run").exists()


def test_float16_and_missing_trackers_are_refused(make_recipe, tmp_path):
    half = make_recipe(tmp_path / "half", {"model.dtype": "float16"})
    with pytest.raises(ConfigError, match=r"model\.dtype"):
        train_grpo(half, resume=False)
    tracked = make_recipe(tmp_path / "tracked", {"log.trackers": ("no_such_tracker",)})
    with pytest.raises(ConfigError, match="'no_such_tracker' is not installed"):
        train_grpo(tracked, resume=False)


def test_weights_are_trained_in_float32_and_saved_in_the_asked_dtype(make_recipe, tmp_path):
    recipe = make_recipe(tmp_path / "run", {"train.max_steps": 2, "model.dtype": "bfloat16"})
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision per process
    train_grpo(recipe, resume=False)
    AcceleratorState._reset_state(reset_partial_state=True)
    masters = load_file(recipe.output_dir / "checkpoint-2" / "model.safetensors")
    final = load_file(recipe.output_dir / "final" / "model.safetensors")
    assert {weight.dtype for weight in masters.values()} == {torch.float32}
    assert {weight.dtype for weight in final.values()} == {torch.bfloat16}
    for name, weight in masters.items():
        assert torch.equal(weight.to(torch.bfloat16), final[name])
    # Both passes ran in bfloat16: close to each other, not as close as in float32.
    assert 1e-5 < repeatable(recipe.output_dir)[-1]["rollout_mismatch"] < 0.1


@pytest.mark.parametrize("changes", [{}, {"lora.rank": 4}], ids=["full", "lora"])
def test_a_twin_answers_as_the_weights_do(make_recipe, tmp_path, changes):
    """In 16 bits bit for bit; with adapters, added to rounded weights, nearly."""
    found = []
    for twin in (False, True):
        both = {"train.max_steps": 2, "model.dtype": "bfloat16", "train.learning_rate": 1e-2, **changes}
        recipe = make_recipe(tmp_path / str(twin), {**both, "rollout.twin": twin})
        AcceleratorState._reset_state(reset_partial_state=True)
        train_grpo(recipe, resume=False)
        found.append(recipe.output_dir)
    AcceleratorState._reset_state(reset_partial_state=True)
    if not changes:
        assert repeatable(found[0]) == repeatable(found[1])
    first, second = (repeatable(folder)[-1]["rollout_mismatch"] for folder in found)
    assert second == pytest.approx(first, rel=0.5)


def test_weights_in_16_bits_and_resume(make_recipe, tmp_path):
    """The optimizer compiles its step; here it need not (tests/unit/train/test_optimizer.py compiles)."""
    changes = {
        "train.max_steps": 4,
        "train.save_every": 2,
        "model.dtype": "bfloat16",
        "train.weights": "bfloat16",
        "train.optimizer": "adamw_8bit",
    }
    recipe = make_recipe(tmp_path / "run", changes)
    AcceleratorState._reset_state(reset_partial_state=True)
    with torch.compiler.set_stance("force_eager"):
        train_grpo(recipe, resume=False)
        whole = load_file(recipe.output_dir / "final" / "model.safetensors")
        shutil.rmtree(recipe.output_dir / "final")
        shutil.rmtree(recipe.output_dir / "checkpoint-4")
        train_grpo(recipe, resume=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    again = load_file(recipe.output_dir / "final" / "model.safetensors")
    assert {weight.dtype for weight in whole.values()} == {torch.bfloat16}
    start = load_file(Path(recipe.model.path) / "model.safetensors")
    assert any(not torch.equal(whole[name], weight.bfloat16()) for name, weight in start.items())
    for name, weight in whole.items():  # stochastic rounding goes on with the random state that was saved
        assert torch.equal(weight, again[name]), name
