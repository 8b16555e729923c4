"""From the files of every source to records: `sbr eval` on LongVideoBench, EgoPlan-Bench and EgoPlan-Bench2.

Answers are compared with plain transformers, which is given pictures taken from the recordings by hand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from sbr.cli import eval as cli_eval
from sbr.cli.main import run
from sbr.config.load import read_resolved
from sbr.config.recipes import EvalRecipe
from sbr.errors import ConfigError
from sbr.eval.records import read_records
from sbr.frames.cache import FrameCache
from sbr.types import EvalRecord

SIDE = 56
TEMPLATE = (
    "{} Output the thinking process in <think> </think> and final answer in <answer> </answer> tags, i.e., "
    "<think> reasoning process here </think><answer> answer here </answer>. "
)
OPTIONS = ("open tap", "close tap", "take cup", "wash cup", "dry cup")


def pictures(seed: int, count: int) -> list[np.ndarray]:
    """Pictures of the size the model sees, so that nothing is resized."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return [np.kron(block, np.ones((8, 8, 1), np.uint8)) for block in blocks]


def write_video(file: Path, seed: int, count: int) -> list[np.ndarray]:
    """A video at 4 frames a second; returns its frames as they are decoded."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for picture in pictures(seed, count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def write_frames(folder: Path, seed: int, numbers: range) -> dict[int, np.ndarray]:
    """Numbered pictures; returns them as they are decoded."""
    folder.mkdir(parents=True)
    found = {}
    for number, picture in zip(numbers, pictures(seed, len(numbers)), strict=True):
        file = folder / f"frame_{number:010d}.jpg"
        Image.fromarray(picture).save(file)
        found[number] = np.array(Image.open(file))
    return found


def ask(root: Path, source: str, model: Path, out: Path, *words: str, subtitles: bool = False) -> dict[str, EvalRecord]:
    """`sbr eval`, with the frames and the length of answers of these tests."""
    recipe = out.with_suffix(".toml")
    recipe.write_text(
        f"output_dir='-'\n[model]\npath='-'\ndtype='float32'\n[data]\nroot='-'\nsubtitles={str(subtitles).lower()}\n"
        f"[frames]\nheight={SIDE}\nwidth={SIDE}\n[eval]\nmax_new_tokens=12\nbatch_size=2\n"
    )
    asked = ["--recipe", str(recipe), "--model", str(model), "--data", str(root), "--out", str(out)]
    cli_eval.run([*asked, "--source", source, *words])
    return {record.sample_id: record for record in read_records(out / "records.jsonl")}


def assert_answers_from_the_cache(
    root: Path, source: str, model: Path, out: Path, media: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sbr data cache` once; then the evaluation that is in `out` gives the same answers without opening a medium."""
    counts: list[tuple[int, int]] = []
    monkeypatch.setattr(FrameCache, "log_counts", lambda cache: counts.append((cache.counts.hits, cache.counts.absent)))
    words = ["--source", source, "--recipe", str(out.with_suffix(".toml")), "--factor", "28"]
    assert run(["data", "cache", str(root), *words]) == 0
    monkeypatch.setattr("sbr.frames.load.read_clip", None)
    monkeypatch.setattr("sbr.frames.load.picture_of", None)
    first = {record.sample_id: replace(record, seconds=0.0) for record in read_records(out / "records.jsonl")}
    again = ask(root, source, model, out.with_name("again"))
    assert {key: replace(record, seconds=0.0) for key, record in again.items()} == first
    assert counts == [(media, 0)]


def plain_answer(folder: Path, video: list[np.ndarray] | None, image: np.ndarray | None, text: str) -> str:
    """What transformers' own generate says to a video, an image and a text."""
    media: list[dict[str, Any]] = [] if video is None else [{"type": "video", "video": np.stack(video)}]
    media += [] if image is None else [{"type": "image", "image": Image.fromarray(image)}]
    return answer_to(folder, [*media, {"type": "text", "text": text}])


def answer_to(folder: Path, content: list[dict[str, Any]]) -> str:
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    banned = {*processor.tokenizer.all_special_ids, *range(408, 413)} - set(model.generation_config.eos_token_id)
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"do_resize": False, "do_sample_frames": False},
    )
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=12, suppress_tokens=sorted(banned))
    return processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def lettered(question: str, options: tuple[str, ...]) -> str:
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip("ABCDE", options, strict=False))
    return TEMPLATE.format(f"{question}\n{lines}")


def egoplan_row(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "sample_id": number,
        "video_source": "Ego4D",
        "video_id": "uid-1",
        "task_goal": "make tea",
        "question": f"what next, {number}?",
        **{f"choice_{letter}": option for letter, option in zip("abcd", OPTIONS, strict=False)},
        "golden_choice_idx": "B",
        "answer": "close tap",
        "current_observation_frame": 20,
        "task_progress_metadata": [{"narration_text": "open tap", "start_frame": 9, "stop_frame": 15}],
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def test_longvideobench(tiny_model_dir, tmp_path, monkeypatch):
    root = tmp_path / "lvb"
    clips = [write_video(root / "videos" / f"v{number}.mp4", number, 8) for number in range(3)]
    rows = [
        {
            "id": f"v{number}_0",
            "video_id": f"v{number}",
            "video_path": f"v{number}.mp4",
            "question": f"what happens, {number}?",
            "candidates": OPTIONS[: number + 3],
            "correct_choice": number + 2,
            "duration_group": (15, 60, 3600)[number],
            "level": ("L1-Perception", "L2-Relation")[number % 2],
            "question_category": "S2E",
            "topic_category": ("KC", "LT")[number % 2],
        }
        for number in range(3)
    ]
    (root / "lvb_val.json").write_text(json.dumps(rows))
    records = ask(root, "longvideobench", tiny_model_dir, tmp_path / "out")
    assert list(records) == ["v0_0", "v1_0", "v2_0"]
    for number, record in enumerate(records.values()):
        assert (record.level, record.domain) == ("val", ("KC", "LT")[number % 2])
        assert (record.options, record.gold) == (OPTIONS[: number + 3], "CDE"[number])
        assert dict(record.groups) == {
            "duration": ("(8,15]", "(15,60]", "(900,3600]")[number],
            "level": ("L1 (Perception)", "L2 (Relation)")[number % 2],
            "category": "S2E",
        }
        assert "<|video_pad|>" in record.prompt and "<|image_pad|>" not in record.prompt
        frames = [clips[number][index] for index in (0, 2, 5, 7)]  # 2 s at 2 a second
        text = lettered(f"what happens, {number}?", OPTIONS[: number + 3])
        assert record.response == plain_answer(tiny_model_dir, frames, None, text)
    assert len({record.response for record in records.values()}) > 1
    resolved = read_resolved(EvalRecipe, tmp_path / "out" / "recipe.json")
    assert (resolved.data.source, resolved.eval.levels) == ("longvideobench", ("val",))
    assert "lvb_val.json" in json.loads((tmp_path / "out" / "inputs.json").read_text())
    table = (tmp_path / "out" / "table.md").read_text()
    assert "val KC" in table and "val Overall" in table
    assert_answers_from_the_cache(root, "longvideobench", tiny_model_dir, tmp_path / "out", 3, monkeypatch)


def test_longvideobench_with_subtitles(tiny_model_dir, tmp_path):
    root = tmp_path / "lvb"
    clip = write_video(root / "videos" / "v.mp4", 3, 8)
    row = {
        **{"id": "v_0", "video_id": "v", "video_path": "v.mp4", "question": "what is said?"},
        **{"candidates": OPTIONS[:2], "correct_choice": 0, "duration_group": 15, "level": "L1-Perception"},
        **{"question_category": "S2E", "topic_category": "KC", "subtitle_path": "v.json", "duration": 2.0},
        "starting_timestamp_for_subtitles": 60,
    }
    (root / "lvb_val.json").write_text(json.dumps([row]))
    (root / "subtitles").mkdir()
    (root / "subtitles" / "v.json").write_text(json.dumps([{"timestamp": [60.25, 60.75], "text": "open the tap"}]))
    record = ask(root, "longvideobench", tiny_model_dir, tmp_path / "out", subtitles=True)["v_0"]
    # Frames at 0, 0.5, 1.25 and 1.75 seconds; the text is at 0.25 to 0.75, its middle at 0.5.
    pictures_of = [{"type": "image", "image": Image.fromarray(clip[index])} for index in (0, 2, 5, 7)]
    said = {"type": "text", "text": "open the tap\n"}
    question = {"type": "text", "text": lettered("what is said?", OPTIONS[:2])}
    assert record.response == answer_to(tiny_model_dir, [*pictures_of[:2], said, *pictures_of[2:], question])


def test_egoplan_reads_pictures_and_ranges(tiny_model_dir, tmp_path, monkeypatch):
    root = tmp_path / "egoplan"
    recording = write_video(root / "Ego4D" / "v1_288p" / "uid-1.mp4", 1, 24)
    kitchen = write_frames(root / "EPIC-KITCHENS" / "P01" / "rgb_frames" / "P01_13", 2, range(1, 21))
    rows = [
        egoplan_row(1),
        egoplan_row(2, video_source="EpicKitchens", video_id="P01_13"),
        egoplan_row(3, task_progress_metadata=[]),
    ]
    (root / "EgoPlan_validation.json").write_text(json.dumps(rows))
    (root / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_13,5,4.0,56x56\n")
    records = ask(root, "egoplan", tiny_model_dir, tmp_path / "out")
    assert {key: record.level for key, record in records.items()} == {"2": "L1", "1": "L2", "3": "L2"}
    # Frames 9 to 20: 12 frames at 4 a second are 3 s, so 6 frames, at 0, 2.2, 4.4, 6.6, 8.8 and 11.
    numbers = [9 + index for index in (0, 2, 4, 7, 9, 11)]
    # The pictures are 60 a second, whatever the recording has: the fewest frames, 4, at 0, 3.67, 7.33 and 11.
    pictures = [9 + index for index in (0, 4, 7, 11)]
    expected = {
        "1": ([recording[number] for number in numbers], recording[20]),
        "2": ([kitchen[number] for number in pictures], kitchen[20]),
        "3": (None, recording[20]),
    }
    for key, (video, image) in expected.items():
        text = lettered(f"what next, {key}?", OPTIONS[:4])
        assert records[key].response == plain_answer(tiny_model_dir, video, image, text)
    assert len({record.response for record in records.values()}) > 1
    # A range, a folder, a picture, and twice the same frame of a video.
    assert_answers_from_the_cache(root, "egoplan", tiny_model_dir, tmp_path / "out", 5, monkeypatch)


def test_blind_and_rotated_questions(tiny_model_dir, tmp_path):
    root = tmp_path / "lvb"
    write_video(root / "videos" / "v.mp4", 1, 8)
    row = {
        **{"id": "v_0", "video_id": "v", "video_path": "v.mp4", "question": "what happens?"},
        **{"candidates": OPTIONS[:3], "correct_choice": 1, "duration_group": 15, "level": "L1-Perception"},
        **{"question_category": "S2E", "topic_category": "KC"},
    }
    (root / "lvb_val.json").write_text(json.dumps([row]))
    out = tmp_path / "out"
    ask(root, "longvideobench", tiny_model_dir, out, "--blind", "--shuffle-options")
    records = read_records(out / "records.jsonl")
    assert [(r.rotation, r.gold, r.control) for r in records] == [
        (0, "B", "blind"),
        (1, "A", "blind"),
        (2, "C", "blind"),
    ]
    for record in records:
        options = OPTIONS[record.rotation : 3] + OPTIONS[: record.rotation]
        assert record.options == options
        assert "<|video_pad|>" not in record.prompt and "<|image_pad|>" not in record.prompt
        assert record.response == plain_answer(tiny_model_dir, None, None, lettered("what happens?", options))
    table = (out / "table.md").read_text()
    assert "the options in every rotation" in table and "without video and image" in table
    with pytest.raises(ConfigError, match="have no image, so nothing would be shown"):
        ask(root, "longvideobench", tiny_model_dir, tmp_path / "no_video", "--no-video")


def test_egoplan2_is_level_3(tiny_model_dir, tmp_path):
    root = tmp_path / "egoplan2"
    recording = write_video(root / "Ego4D" / "v1_288p" / "uid-1.mp4", 1, 24)
    unnamed = {"video_source": None, "video_id": None, "question": None, "task_start_frame": 13}
    rows = [egoplan_row(0, sample_id="uid-1_4", domain="Hobbies", scenario="baking", **unnamed)]
    (root / "EgoPlan-Bench2.json").write_text(json.dumps(rows))
    record = ask(root, "egoplan2", tiny_model_dir, tmp_path / "out", "--levels", "L3")["uid-1_4"]
    assert (record.level, record.domain, record.gold) == ("L3", "Hobbies", "B")
    question = (
        "Considering the progress shown in the video and my current observation in the last frame, "
        "what action should I take next in order to make tea?"
    )
    frames = [recording[13 + index] for index in (0, 2, 5, 7)]
    assert record.response == plain_answer(tiny_model_dir, frames, recording[20], lettered(question, OPTIONS[:4]))


def test_a_level_of_another_source_is_refused(tiny_model_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"eval\.levels names L1, and longvideobench has val"):
        ask(tmp_path, "longvideobench", tiny_model_dir, tmp_path / "out", "--levels", "L1")
    assert not (tmp_path / "out").exists()
