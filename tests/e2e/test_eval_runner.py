"""evaluate() on real mp4 and png files with tiny random models: records, resuming, kill -9, refusals."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import forked
import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from sbr.cli import eval as cli_eval
from sbr.config.asking import EngineConfig, EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import read_resolved, write_resolved
from sbr.config.recipes import EvalRecipe
from sbr.data.sources.seed_bench_r1 import load_level
from sbr.errors import BusyError, CheckpointError, ConfigError, DataError, MediaError
from sbr.eval.compare import compare_records
from sbr.eval.records import RecordKey, read_records, record_key, record_line
from sbr.eval.runner import evaluate
from sbr.eval.summary import read_summary
from sbr.frames.load import load_frames
from sbr.prompt.template import question_text
from sbr.resume.folder import fingerprint
from sbr.resume.lock import locked
from sbr.reward.answer import extract_answer
from sbr.rollout.engine import question_seed
from sbr.types import EvalRecord

QUESTIONS = {"L1": 7, "L3": 4}
CHOICES = ("open tap", "close tap", "take cup", "put cup on table")
DOMAINS = ("Work", "Hobbies")


def row(level: str, number: int) -> dict:
    """Every third question has no video."""
    progress = [{"narration_text": "open tap", "start_frame": 0, "stop_frame": 7}] if number % 3 else []
    values = {
        "sample_id": number,
        "video_source": "EpicKitchens" if level == "L1" else "Ego4D",
        "video_id": f"V{number}",
        "video_basename": f"{number % 2}.mp4",
        "current_observation_basename": f"{number % 2}.png",
        "current_observation_frame": 8,
        "task_goal": "make tea",
        "question": "Considering the progress shown in the video and my current observation in the last frame, "
        "what action should I take next in order to make tea?",
        "answer": CHOICES[number % 4],
        "task_progress_metadata": progress,
        "golden_choice_idx": "ABCD"[number % 4],
    }
    values |= {f"choice_{letter}": choice for letter, choice in zip("abcd", CHOICES, strict=True)}
    if level == "L3":
        values |= {"domain": DOMAINS[number % 2], "scenario": "tea", "task_start_frame": 0}
    return values


def write_video(file: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(8):
            picture = np.kron(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "annotations").mkdir()
    for level, count in QUESTIONS.items():
        lines = [json.dumps(row(level, number)) + "\n" for number in range(count)]
        (root / "annotations" / f"validation_{level}.jsonl").write_text("".join(lines))
    for source in ("EpicKitchens", "Ego4D"):
        (root / "videos" / source).mkdir(parents=True)
        (root / "images" / source).mkdir(parents=True)
        for number in (0, 1):
            write_video(root / "videos" / source / f"{number}.mp4", number)
            pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / source / f"{number}.png")
    return root


def recipe(model: Path, root: Path, out: Path, **values) -> EvalRecipe:
    settings = {"levels": ("L1", "L3"), "batch_size": 2, "max_new_tokens": 6} | values
    return EvalRecipe(
        model=ModelConfig(path=str(model), dtype="float32"),
        data=DataConfig(root=root),
        output_dir=out,
        frames=FramesConfig(height=56, width=56),
        eval=EvalConfig(**settings),
    )


def answers(folder: Path) -> dict[RecordKey, EvalRecord]:
    """Everything but the time; duplicates would already be an error."""
    return {record_key(record): replace(record, seconds=0.0) for record in read_records(folder / "records.jsonl")}


@pytest.fixture(scope="module")
def finished(tiny_model_dir: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with two samples a question."""
    out = tmp_path_factory.mktemp("finished")
    evaluate(recipe(tiny_model_dir, data_root, out, protocol="paper", samples=2))
    return out


def test_greedy_run_writes_records_summary_and_recipe(tiny_model_dir, data_root, tmp_path):
    asked = recipe(tiny_model_dir, data_root, tmp_path / "out")
    summary = evaluate(asked)
    records = read_records(tmp_path / "out" / "records.jsonl")
    wanted = [(level, str(number), 0, 0) for level, count in QUESTIONS.items() for number in range(count)]
    assert [tuple(record_key(record)) for record in records] == wanted
    for record in records:
        assert record.gold == "ABCD"[int(record.sample_id) % 4]
        assert record.options == CHOICES
        assert record.domain == ("Daily life" if record.level == "L1" else DOMAINS[int(record.sample_id) % 2])
        assert record.extracted == extract_answer(record.response, CHOICES, "official").letter
        assert record.correct == (record.extracted == record.gold)
        assert "B. close tap\n" in record.prompt
        assert ("<|video_pad|>" in record.prompt) == (int(record.sample_id) % 3 != 0)
        assert 1 <= record.completion_tokens <= 6
        assert record.seconds > 0
    assert read_summary(tmp_path / "out" / "summary.json") == summary
    assert read_resolved(EvalRecipe, tmp_path / "out" / "recipe.json") == asked
    levels = [(level.level, level.overall.questions, [part.name for part in level.domains]) for level in summary.levels]
    assert levels == [("L1", 7, ["Daily life"]), ("L3", 4, ["Hobbies", "Work"])]
    assert summary.levels[0].overall.correct == sum(record.correct for record in records[:7])


@pytest.mark.parametrize(("family", "side"), [("qwen2_vl", 56), ("qwen2_5_vl", 56), ("qwen3_vl", 64)])
def test_every_family_answers_as_plain_transformers_does(tiny_model_dirs, data_root, tmp_path, family, side):
    """From files to greedy answers; the sizes of the frames follow the patches of the checkpoint."""
    folder = tiny_model_dirs[family]
    evaluate(recipe(folder, data_root, tmp_path / "out", levels=("L1",), max_new_tokens=12))
    found = {record.sample_id: record.response for record in read_records(tmp_path / "out" / "records.jsonl")}

    processor = AutoProcessor.from_pretrained(folder)
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    # What the tiny tokenizer does not name, and special tokens but the two ends of a turn.
    banned = {*processor.tokenizer.all_special_ids, *range(408, 413)} - set(plain.generation_config.eos_token_id)
    for sample in load_level(data_root, "L1", limit=4):
        frames = load_frames(sample, FramesConfig(height=side, width=side), factor=side // 2)
        assert frames.image_HWC.shape == (side, side, 3)
        media = [] if sample.video is None else [{"type": "video", "video": frames.video_THWC}]
        known = {"total_num_frames": 8, "fps": 4.0, "frames_indices": list(frames.indices)}
        media += [{"type": "image", "image": Image.fromarray(frames.image_HWC)}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [*media, {"type": "text", "text": question_text(sample)}]}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"do_resize": False, "do_sample_frames": False, "video_metadata": [known]},
        )
        tokens = plain.generate(**inputs, do_sample=False, max_new_tokens=12, suppress_tokens=sorted(banned))
        answer = processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert found[sample.sample_id] == answer
    assert len(set(found.values())) > 1


def test_a_finished_run_is_not_asked_again(tiny_model_dir, data_root, finished, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the model must not be loaded")

    before = (finished / "records.jsonl").read_bytes()
    monkeypatch.setattr("sbr.rollout.native_engine.load_model", refuse)
    summary = evaluate(recipe(tiny_model_dir, data_root, finished, protocol="paper", samples=2))
    assert (finished / "records.jsonl").read_bytes() == before
    assert summary == read_summary(finished / "summary.json")
    assert (summary.levels[0].overall.questions, summary.levels[0].overall.samples) == (7, 2)


def test_samples_differ_and_seeds_decide_them(tiny_model_dir, data_root, finished, tmp_path):
    mine = answers(finished)
    assert any(mine[key].response != mine[key._replace(sample_index=0)].response for key in mine if key.sample_index)
    evaluate(recipe(tiny_model_dir, data_root, tmp_path, protocol="paper", samples=2, seed=1, levels=("L1",)))
    other = answers(tmp_path)
    assert any(other[key].response != mine[key].response for key in other)


def test_seeds_of_questions_are_stable_and_distinct():
    # sha256("0\0L1\0115"): first 8 bytes, shifted right by one.  It must never change, or old runs cannot be repeated.
    assert question_seed(0, "L1", "115") == 8_131_762_942_554_432_247
    seeds = {question_seed(s, level, str(i)) for s in (0, 1) for level in ("L1", "L11", "L2") for i in (1, 11, 111)}
    assert len(seeds) == 18
    assert max(seeds) < 2**63


@pytest.mark.parametrize("kept", [0, 1, 3, 8, 21])
def test_a_run_cut_anywhere_continues_to_the_same_answers(kept, tiny_model_dir, data_root, finished, tmp_path):
    """`kept` whole lines and half of the next are on disk, in the middle of a question or of a batch."""
    lines = (finished / "records.jsonl").read_bytes().splitlines(keepends=True)
    for name in ("recipe.json", "inputs.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / "records.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
    evaluate(recipe(tiny_model_dir, data_root, tmp_path, protocol="paper", samples=2))
    assert answers(tmp_path) == answers(finished)
    assert (tmp_path / "records.jsonl").read_bytes().startswith(b"".join(lines[:kept]))


CHILD = """
import pathlib, sys
import torch
from sbr.config.load import read_resolved
from sbr.config.recipes import EvalRecipe
from sbr.eval.runner import evaluate
torch.set_num_threads(1)
evaluate(read_resolved(EvalRecipe, pathlib.Path(sys.argv[1])))
"""


def test_killed_run_continues_to_the_same_answers(tiny_model_dir, data_root, finished, tmp_path):
    asked = recipe(tiny_model_dir, data_root, tmp_path / "out", protocol="paper", samples=2)
    (tmp_path / "recipe.json").write_text(asked.model_dump_json())
    records = tmp_path / "out" / "records.jsonl"
    whole = (finished / "records.jsonl").stat().st_size
    kill_at = random.randrange(1, whole // 2)
    with forked.start("-c", CHILD, tmp_path / "recipe.json") as run:
        while run.poll() is None and not (records.exists() and records.stat().st_size >= kill_at):
            time.sleep(0.002)
        run.kill()
    assert run.returncode == -signal.SIGKILL, run.output
    left = records.read_bytes().count(b"\n")
    evaluate(asked)
    assert answers(tmp_path / "out") == answers(finished), f"killed at {kill_at} of {whole} bytes, {left} lines left"


def test_other_settings_are_refused_before_anything_is_touched(tiny_model_dir, data_root, finished):
    before = (finished / "records.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"eval\.max_new_tokens: 6 then, 7 now"):
        evaluate(recipe(tiny_model_dir, data_root, finished, protocol="paper", samples=2, max_new_tokens=7))
    assert (finished / "records.jsonl").read_bytes() == before


def test_two_first_launches_with_different_settings(tiny_model_dir, data_root, tmp_path, monkeypatch):
    """The other one has begun and ended after we looked at the folder and before we hold it."""
    out = tmp_path / "out"

    @contextmanager
    def after_the_other(folder: Path) -> Iterator[None]:
        write_resolved(recipe(tiny_model_dir, data_root, out, seed=1, levels=("L1", "L3")), folder / "recipe.json")
        (folder / "inputs.json").write_text("{}")
        with locked(folder):
            yield

    monkeypatch.setattr("sbr.rollout.ask.locked", after_the_other)
    with pytest.raises(ConfigError, match=r"eval\.seed: 1 then, 0 now"):
        evaluate(recipe(tiny_model_dir, data_root, out))
    assert {file.name for file in out.iterdir()} == {"recipe.json", "inputs.json"}


def test_a_folder_that_another_run_writes_is_left_to_it(tiny_model_dir, data_root, finished, tmp_path):
    with locked(finished), pytest.raises(BusyError, match=rf"{finished} is being written by process \d+"):
        evaluate(recipe(tiny_model_dir, data_root, finished, protocol="paper", samples=2))


def test_what_the_model_refuses_leaves_no_folder(tiny_model_dir, data_root, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in tiny_model_dir.iterdir():
        if file.suffix != ".safetensors":
            (model / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match="weights cannot be loaded"):
        evaluate(recipe(model, data_root, tmp_path / "deep" / "out"))
    assert not (tmp_path / "deep").exists()


def test_records_of_other_questions_are_refused(tiny_model_dir, data_root, finished, tmp_path):
    for name in ("recipe.json", "inputs.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    strange = replace(read_records(finished / "records.jsonl")[0], sample_id="999")
    (tmp_path / "records.jsonl").write_text(record_line(strange), "utf-8")
    with pytest.raises(DataError, match="999"):
        evaluate(recipe(tiny_model_dir, data_root, tmp_path, protocol="paper", samples=2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"samples": 3}, "greedy protocol"),
        ({"levels": ("L1", "L1")}, "every level once"),
        ({"levels": ("val",)}, "names val, and seed_bench_r1 has L1, L2, L3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message, tiny_model_dir, data_root, tmp_path):
    with pytest.raises(ConfigError, match=message):
        evaluate(recipe(tiny_model_dir, data_root, tmp_path / "out", **values))
    assert not (tmp_path / "out").exists()


def test_unreadable_media_stop_the_run_and_a_repaired_file_lets_it_continue(tiny_model_dir, data_root, tmp_path):
    root = tmp_path / "data"
    for folder in ("annotations", "videos/EpicKitchens", "images/EpicKitchens"):
        (root / folder).mkdir(parents=True)
        for file in (data_root / folder).iterdir():
            (root / folder / file.name).write_bytes(file.read_bytes())
    video = root / "videos" / "EpicKitchens" / "0.mp4"
    good = video.read_bytes()
    video.write_text("this is no video")
    asked = recipe(tiny_model_dir, root, tmp_path / "out", levels=("L1",), limit=6)
    with pytest.raises(MediaError, match=r"0\.mp4"):
        evaluate(asked)
    # 0 has no video, 1 uses the good file: their batch is safe.  2 is the first to need the bad one.
    assert [record.sample_id for record in read_records(tmp_path / "out" / "records.jsonl")] == ["0", "1"]
    assert not (tmp_path / "out" / "summary.json").exists()
    video.write_bytes(good)
    assert evaluate(asked).levels[0].overall.questions == 6


def test_two_rows_with_one_id_are_refused(tiny_model_dir, data_root, tmp_path):
    (tmp_path / "annotations").mkdir()
    lines = [json.dumps(row("L1", 0)) + "\n"] * 2
    (tmp_path / "annotations" / "validation_L1.jsonl").write_text("".join(lines))
    (tmp_path / "images").symlink_to(data_root / "images")
    with pytest.raises(DataError):
        evaluate(recipe(tiny_model_dir, tmp_path, tmp_path / "out", levels=("L1",)))


def test_command_line_prints_the_table_and_writes_it(tiny_model_dir, data_root, tmp_path, capsys):
    file = tmp_path / "eval.toml"
    file.write_text(
        "output_dir='-'\n[model]\npath='-'\ndtype='float32'\n[data]\nroot='-'\n[frames]\nheight=56\nwidth=56\n"
    )
    words = [
        "--recipe",
        str(file),
        "--model",
        str(tiny_model_dir),
        "--data",
        str(data_root),
        "--out",
        str(tmp_path / "o"),
    ]
    cli_eval.run([*words, "--levels", "L3", "--limit", "3", "--max-new-tokens", "4", "--batch-size", "8"])
    printed = capsys.readouterr().out
    table = (tmp_path / "o" / "table.md").read_text("utf-8")
    for text in (printed, table):
        assert "L3 Hobbies" in text
        assert "L3 Overall" in text
    assert "records.jsonl" in printed
    answered = read_records(tmp_path / "o" / "records.jsonl")
    assert {(record.video_id, record.scenario) for record in answered} == {(f"V{n}", "tea") for n in range(3)}
    same = compare_records(answered, answered, "a", "b")
    assert {part.paired.difference for part in same.slices} == {0.0}


def test_an_engine_of_ones_own_is_an_input(tiny_model_dir, data_root, tmp_path, monkeypatch):
    """A folder is not continued by other code than began it."""
    module = tmp_path / "own_native.py"
    module.write_text("from sbr.rollout.native_engine import open_native as mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    own = {"engine": EngineConfig(kind="own_native:mine")}
    asked = recipe(tiny_model_dir, data_root, out, levels=("L1",)).model_copy(update=own)
    evaluate(asked)
    assert json.loads((out / "inputs.json").read_text())["module own_native"] == fingerprint(module)
    before = (out / "records.jsonl").read_bytes()
    module.write_text(module.read_text() + "# changed\n")
    with pytest.raises(ConfigError, match="input file module own_native has changed"):
        evaluate(asked)
    assert (out / "records.jsonl").read_bytes() == before
