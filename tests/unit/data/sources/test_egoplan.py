"""EgoPlan-Bench and EgoPlan-Bench2 -> Samples: clips as ranges of frames, levels by source, and the same options as the
release of SEED-Bench-R1 draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sbr.data.sources.egoplan import load_bench2, load_training, load_validation, read_frame_rates
from sbr.data.sources.seed_bench_r1 import load_training_samples
from sbr.errors import AnnotationError, DataError
from sbr.types import FrameFolder, VideoFrame, VideoRange

REAL = Path(__file__).resolve().parents[5] / "shared" / "reference" / "annotations"
UID = "0d270946-95c5-4e71-ae49-b9e802548147"


def row(number: int, **changes: Any) -> dict[str, Any]:
    """An Epic-Kitchens row of EgoPlan_validation.json; a change to None takes the key away."""
    values = {
        "sample_id": number,
        "video_source": "EpicKitchens",
        "video_id": "P01_13",
        "task_goal": "make tea",
        "question": "what next in order to make tea?",
        "choice_a": "open tap",
        "choice_b": "close tap",
        "choice_c": "take cup",
        "choice_d": "wash cup",
        "golden_choice_idx": "C",
        "answer": "take cup",
        "current_observation_frame": 760,
        "task_progress_metadata": [
            {"narration_text": "open tap", "start_frame": 36, "stop_frame": 105},
            {"narration_text": "close tap", "start_frame": 100, "stop_frame": 253},
        ],
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def ego4d(number: int, **changes: Any) -> dict[str, Any]:
    return row(number, **{"video_source": "Ego4D", "video_id": UID} | changes)


def bench2(number: int, **changes: Any) -> dict[str, Any]:
    """As the README of EgoPlan-Bench2 shows a row: no question, no source, no video but in the id."""
    unnamed = {"video_source": None, "video_id": None, "question": None}
    return row(
        number, **{"sample_id": f"{UID}_{number}", "domain": "Hobbies", "scenario": "baking"} | unnamed | changes
    )


def root_of(tmp_path: Path, name: str, rows: list[dict[str, Any]], rates: str = "P01_13,93.76,59.94,1920x1080") -> Path:
    (tmp_path / name).write_text(json.dumps(rows))
    if rates:
        (tmp_path / "EPIC_100_video_info.csv").write_text(f"video_id,duration,fps,resolution\n{rates}\n")
    return tmp_path


def test_levels_are_the_two_sources_of_the_videos(tmp_path):
    root = root_of(tmp_path, "EgoPlan_validation.json", [row(1), ego4d(2), row(3), ego4d(4)])
    kitchens, unseen = load_validation(root, "L1", None), load_validation(root, "L2", None)
    assert [(sample.sample_id, sample.split) for sample in kitchens] == [("1", "L1"), ("3", "L1")]
    assert [(sample.sample_id, sample.split) for sample in unseen] == [("2", "L2"), ("4", "L2")]
    assert {sample.domain for sample in (*kitchens, *unseen)} == {"Daily life"}
    assert [sample.sample_id for sample in load_validation(root, "L2", 1)] == ["2"]
    assert (kitchens[0].options[2], kitchens[0].gold, kitchens[0].gold_text) == ("take cup", "C", "take cup")


def test_a_clip_of_epic_kitchens_is_a_folder_of_pictures(tmp_path):
    sample = load_validation(root_of(tmp_path, "EgoPlan_validation.json", [row(1)]), "L1", None)[0]
    folder = tmp_path.resolve() / "EPIC-KITCHENS" / "P01" / "rgb_frames" / "P01_13"
    assert sample.video == FrameFolder(folder, first=36, last=760, fps=60.0)  # and not the recording's 59.94
    assert sample.video.file(760) == sample.image == folder / "frame_0000000760.jpg"


def test_pictures_of_epic_kitchens_have_one_rate_whatever_the_recording_has(tmp_path):
    rows = [row(1, video_id="P09_08"), row(2, video_id="P06_12"), row(3, video_id="P06_107"), row(4, video_id="other")]
    rates = "P09_08,1,29.97,1x1\nP06_12,1,90.0,1x1\nP06_107,1,90.0,1x1\nother,1,25.0,1x1"
    samples = load_validation(root_of(tmp_path, "EgoPlan_validation.json", rows, rates), "L1", None)
    assert [sample.video.fps for sample in samples] == [60.0, 60.0, 50.0, 25.0]


def test_a_clip_of_ego4d_is_a_range_of_its_video(tmp_path):
    steps = [{"narration_text": "Holds a cup.", "start_frame": -1, "stop_frame": 22}]
    rows = [ego4d(1), ego4d(2, task_progress_metadata=steps), ego4d(3, task_progress_metadata=[])]
    # Without Epic-Kitchens no frame rates are needed.
    samples = load_validation(root_of(tmp_path, "EgoPlan_validation.json", [row(9), *rows], rates=""), "L2", None)
    file = tmp_path.resolve() / "Ego4D" / "v1_288p" / f"{UID}.mp4"
    assert [sample.video for sample in samples] == [VideoRange(file, 36, 760), VideoRange(file, 0, 760), None]
    assert {sample.image for sample in samples} == {VideoFrame(file, 760)}
    assert samples[1].progress[0].start_frame == -1


def test_bench2_names_its_video_in_the_id_and_starts_at_the_task(tmp_path):
    rows = [bench2(2, task_start_frame=20), bench2(3, question="and now?", domain="Work")]
    first, second = load_bench2(root_of(tmp_path, "EgoPlan-Bench2.json", rows), "L3", None)
    file = tmp_path.resolve() / "Ego4D" / "v1_288p" / f"{UID}.mp4"
    assert (first.sample_id, first.video_id, first.video_source) == (f"{UID}_2", UID, "Ego4D")
    assert (first.video, first.image) == (VideoRange(file, 20, 760), VideoFrame(file, 760))
    assert (first.split, first.domain, first.scenario) == ("L3", "Hobbies", "baking")
    assert first.question == (
        "Considering the progress shown in the video and my current observation in the last frame, "
        "what action should I take next in order to make tea?"
    )
    assert (second.question, second.domain, second.video) == ("and now?", "Work", VideoRange(file, 36, 760))


def test_training_offers_the_options_that_the_release_of_seed_bench_r1_offers(tmp_path):
    """The same rows in both forms: a model trained on one sees the questions of the other."""
    negatives = ["open tap", "Take cup", "close tap", "wash cup", "dry cup", "open tap"]
    choices = dict.fromkeys(["choice_a", "choice_b", "choice_c", "choice_d", "golden_choice_idx"])
    rows = [row(number, negative_answers=negatives, **choices) for number in range(20)]
    ours = load_training(root_of(tmp_path, "EgoPlan_IT.json", rows), "EgoPlan_IT.json", 5, None)
    for folder in ("annotations", "videos", "images"):
        (tmp_path / folder).mkdir()
    cut = {"video_basename": "1.mp4", "current_observation_basename": "1.png"}
    lines = [json.dumps(values | cut) + "\n" for values in rows]
    (tmp_path / "annotations" / "training.jsonl").write_text("".join(lines))
    theirs = load_training_samples(tmp_path, "training.jsonl", 5, None)
    assert [(s.sample_id, s.options, s.gold) for s in ours] == [(s.sample_id, s.options, s.gold) for s in theirs]
    assert len({s.gold for s in ours}) == 4
    assert {s.split for s in ours} == {"train"}
    assert load_training(tmp_path, "EgoPlan_IT.json", 5, 3) == ours[:3]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"golden_choice_idx": "E"}, "golden_choice_idx is 'E', expected one of A-D"),
        ({"answer": "dry cup"}, "answer is 'dry cup', expected the text of choice C, 'take cup'"),
        ({"choice_b": None}, "choice_b is missing, expected a text"),
        ({"video_source": "EPIC"}, "video_source is 'EPIC', expected EpicKitchens or Ego4D"),
        ({"video_id": "../P01_13"}, "video_id is '../P01_13' (a path with '..'), expected the name of one folder"),
        ({"video_id": "P02_01"}, "video_id is 'P02_01', expected a video of EPIC_100_video_info.csv"),
        ({"current_observation_frame": 36}, "current_observation_frame is 36, expected a frame after the start"),
        ({"current_observation_frame": 0}, "current_observation_frame is 0, expected a frame number, 1 or more"),
        ({"task_progress_metadata": None}, "task_progress_metadata is missing, expected a list"),
        ({"sample_id": 1}, "sample_id is '1', as in an earlier row, expected a new one"),
        ({"task_goal": ""}, "task_goal is empty, expected a text"),
    ],
)
def test_every_problem_names_file_row_and_field(tmp_path, changes, problem):
    root = root_of(tmp_path, "EgoPlan_validation.json", [row(1), row(**{"number": 2} | changes)])
    with pytest.raises(AnnotationError) as caught:
        load_validation(root, "L1", 1)
    assert len(caught.value.problems) == 1
    assert f"{root / 'EgoPlan_validation.json'}:1: row 2, {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sample_id": "nameless"}, "sample_id is 'nameless', expected <video>_<number>"),
        ({"sample_id": "../x_2"}, "sample_id is '../x_2', expected <video>_<number>"),
        ({"domain": None}, "domain is missing, expected a text"),
    ],
)
def test_problems_of_bench2(tmp_path, changes, problem):
    with pytest.raises(AnnotationError) as caught:
        load_bench2(root_of(tmp_path, "EgoPlan-Bench2.json", [bench2(1, **changes)]), "L3", None)
    assert f"row 1, {problem}" in str(caught.value)


def test_too_few_negatives_are_refused(tmp_path):
    rows = [row(1, negative_answers=["open tap", "Open  Tap", "wash cup"]), row(2, negative_answers=["a", "b"])]
    with pytest.raises(AnnotationError) as caught:
        load_training(root_of(tmp_path, "EgoPlan_IT.json", rows), "EgoPlan_IT.json", 0, None)
    assert "row 1, negative_answers is a list of 3 with 2 such, expected 3 or more that differ" in str(caught.value)
    assert "row 2, negative_answers is a list of 2, expected a list of 3 texts or more" in str(caught.value)


def test_frame_rates_are_asked_for(tmp_path):
    root = root_of(tmp_path, "EgoPlan_validation.json", [row(1)], rates="")
    with pytest.raises(DataError, match=r"EPIC_100_video_info\.csv cannot be opened .* frame rates of Epic-Kitchens"):
        load_validation(root, "L1", None)
    file = root / "EPIC_100_video_info.csv"
    file.write_text("video_id,duration,fps,resolution\nP01_01,1,fast,1920x1080\n")
    with pytest.raises(DataError, match=r"csv:2: fps is 'fast', expected frames a second"):
        read_frame_rates(file)
    file.write_text("video_id,duration,fps,resolution\nP01_01,1,50.0,1x1\nP01_02,1,0,1x1\n")
    with pytest.raises(DataError, match=r"csv:3: fps is '0'"):
        read_frame_rates(file)


def test_levels_a_source_does_not_have_are_refused(tmp_path):
    with pytest.raises(DataError, match="EgoPlan-Bench has no level 'L3'; it has L1, L2"):
        load_validation(tmp_path, "L3", None)
    with pytest.raises(DataError, match="EgoPlan-Bench2 has no level 'L1'"):
        load_bench2(tmp_path, "L1", None)


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not there")
def test_the_record_and_the_frame_rates_of_the_releases(tmp_path):
    shutil.copy(REAL / "egoplan_readme_example.json", tmp_path / "EgoPlan_validation.json")
    shutil.copy(REAL / "EPIC_100_video_info.csv", tmp_path)
    (sample,) = load_validation(tmp_path, "L1", None)
    assert (sample.sample_id, sample.gold, sample.gold_text) == ("115", "A", "put cereal box into cupboard")
    assert isinstance(sample.video, FrameFolder)
    assert (sample.video.first, sample.video.last, sample.video.fps) == (36, 760, 60.0)
    assert sample.image == tmp_path.resolve() / "EPIC-KITCHENS/P01/rgb_frames/P01_13/frame_0000000760.jpg"
    assert len(read_frame_rates(tmp_path / "EPIC_100_video_info.csv")) == 700
