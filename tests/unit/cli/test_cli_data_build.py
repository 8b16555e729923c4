"""`sbr data build` from the command line: refusals, goals of a file and of a model, clips, and the check afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))
from build_sources import goal_rows, kitchen, task_row, write_epic, write_goal_rows, write_tasks

from sbr.cli.main import run
from sbr.data.build.action_files import read_annotations
from sbr.data.build.goals import GoalAnswer, stretches
from sbr.distill.goals import ANSWERS, GOALS, goal_journal

VIDEOS = ["P01_11", "P01_12", "P01_13", "P02_01", "P03_01", "P04_01"]
SPLIT = ["--l1", "0.3", "--l2", "0.4"]


@pytest.fixture
def epic(tmp_path: Path) -> Path:
    return write_epic(tmp_path, kitchen(VIDEOS, 12))


def test_epic_without_goals_is_refused_with_the_choices(
    epic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "build", str(epic), "--out", str(tmp_path / "root")]) == 2
    message = capsys.readouterr().err
    assert "no task goals" in message and "--goals" in message and "--goal-url" in message
    assert not (tmp_path / "root").exists()


def test_goals_of_a_file(epic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goals = write_goal_rows(tmp_path / "goals.csv", goal_rows(kitchen(VIDEOS, 12)))
    root = tmp_path / "root"
    assert run(["data", "build", str(epic), "--out", str(root), "--goals", str(goals), *SPLIT]) == 0
    shown = capsys.readouterr().out
    assert "nothing came before" in shown and "media.jsonl" in shown
    assert run(["data", "check", str(root), "--no-media", "--levels", "L1", "L2"]) == 0
    with pytest.raises(SystemExit, match="1"):  # the clips are not cut yet
        run(["data", "check", str(root), "--quick", "--levels", "L1", "L2"])


def test_ego4d_needs_no_goals_and_takes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        (f"{verb} cup", 40 * i, 40 * i + 30) for i, verb in enumerate(["take", "wash", "put", "open", "cut", "stir"])
    ]
    file = write_tasks(tmp_path / "t.jsonl", [task_row(f"v{i}", "make tea", steps) for i in range(12)])
    goals = write_goal_rows(tmp_path / "goals.csv", goal_rows(kitchen(VIDEOS, 3)))
    out = ["--out", str(tmp_path / "root")]
    assert run(["data", "build", str(file), *out, "--goals", str(goals)]) == 2
    assert "goals of their own" in capsys.readouterr().err
    assert run(["data", "build", str(file), *out, "--l1", "0.1"]) == 2
    assert run(["data", "build", str(file), *out, "--l2", "0.3"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--goal-url", "http://localhost:1"], "belong together"),
        (["--goals", "g.csv", "--goal-url", "http://localhost:1", "--goal-model", "m"], "give one of the two"),
        (["--height", "33"], "even number"),
        (["--goal-window", "1"], "4 or more"),
        (["--goal-tokens", "0"], "1 or more"),
        (["--goals", "none.csv"], "cannot be opened"),
        (["--goals", "none.csv", "--l2", "1"], "shares from 0 to below 1"),
    ],
)
def test_odd_options(
    epic: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "build", str(epic), "--out", str(tmp_path / "root"), *words]) == 2
    assert message in capsys.readouterr().err


def recording(file: Path, seconds: int, fps: int = 10) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(seconds * fps):
            pixels = np.full((48, 64, 3), n % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_clips_are_cut_and_the_whole_root_passes_the_check(tmp_path: Path) -> None:
    videos = VIDEOS[:4]
    file = write_epic(tmp_path, kitchen(videos, 9))
    goals = write_goal_rows(tmp_path / "goals.jsonl", goal_rows(kitchen(videos, 9)))
    for video in videos[:3]:
        recording(tmp_path / "in" / video[:3] / "videos" / f"{video}.MP4", 20)
    command = ["data", "build", str(file), "--out", str(tmp_path / "root"), "--goals", str(goals)]
    command += ["--l1", "0.3", "--l2", "0", "--videos", str(tmp_path / "in"), "--workers", "1"]
    with pytest.raises(SystemExit, match="1"):
        run(command)  # one recording is missing
    recording(tmp_path / "in" / f"{videos[3]}.mp4", 20)
    assert run(command) == 0
    assert run(["data", "check", str(tmp_path / "root"), "--levels", "--workers", "1"]) == 0


def test_with_all_answers_there_no_endpoint_is_opened(epic: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with goal_journal(root / ANSWERS) as journal:
        for part in stretches(read_annotations([epic]), 6):
            narrations = part.messages()[1]["content"]
            goals = json.dumps([{"goal": "cook", "first": 1, "last": len(narrations.splitlines())}])
            reply = goals if "stir" in narrations else "hm"
            journal.append([GoalAnswer(part.key("m"), part.video_id, reply)])
    command = ["data", "build", str(epic), "--out", str(root), "--goal-window", "6", *SPLIT]
    command += ["--goal-url", "http://127.0.0.1:9/v1", "--goal-model", "m"]
    assert run(command) == 0
    report = json.loads((root / "build_report.json").read_text())
    assert report["goals"]["stretches"] == 12
    read = report["goals"]["goals"] + report["goals"].get("answers that cannot be read", 0)
    assert read == 12 and report["goals"]["goals"] == len((root / GOALS).read_text().splitlines())
    first = (root / "annotations" / "training_6k.jsonl").read_bytes()
    other = tmp_path / "other"
    assert run(["data", "build", str(epic), "--out", str(other), "--goals", str(root / GOALS), *SPLIT]) == 0
    assert (other / "annotations" / "training_6k.jsonl").read_bytes() == first
