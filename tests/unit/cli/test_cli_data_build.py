"""`sbr data build` from the command line: refusals, goals of a file and of a model, clips, and the check afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))
from build_sources import goal_rows, kitchen, task_row, write_epic, write_goal_rows, write_tasks

from sbr.cli.data_build import ANSWERS, GOALS, ask_all, goal_journal
from sbr.cli.main import run
from sbr.data.build.actions import read_annotations
from sbr.data.build.goals import Messages, goals_of, stretches
from sbr.errors import DataError, EndpointError

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


# --- goals of a model ----------------------------------------------------------------------------------------------


def answer(messages: Messages) -> str:
    """A model that sees one task in the whole stretch."""
    last = len(messages[1]["content"].splitlines())
    return json.dumps([{"goal": "cook", "first": 1, "last": last}])


def ask(epic: Path, file: Path, model: Any) -> list[str]:
    """Ask for what `file` does not hold yet; returns the narrations that were asked about."""
    parts = list(stretches(read_annotations([epic]), 6))
    asked: list[str] = []

    def noted(messages: Messages) -> str:
        asked.append(messages[1]["content"])
        return model(messages)

    with goal_journal(file) as journal:
        ask_all([p for p in parts if p.key("m") not in journal.done], "m", noted, journal, concurrency=2)
    return asked


def test_answers_survive_an_error_and_a_torn_line(epic: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    calls = iter(range(100))

    def fails(messages: Messages) -> str:
        if next(calls) >= 4:
            raise EndpointError("the server is gone")
        return answer(messages)

    with pytest.raises(EndpointError, match="gone"):
        ask(epic, file, fails)
    assert len(file.read_text().splitlines()) == 4
    file.write_bytes(file.read_bytes()[:-7])
    assert len(ask(epic, file, answer)) == 12 - 3
    assert ask(epic, file, answer) == []
    parts = list(stretches(read_annotations([epic]), 6))
    with goal_journal(file) as journal:
        segments, counts = goals_of(parts, journal.done, "m")
    assert len(segments) == 12 and not counts.get("stretches without an answer")


def test_half_a_surrogate_pair_of_a_model_is_kept_readable(epic: Path, tmp_path: Path) -> None:
    ask(epic, tmp_path / "a.jsonl", lambda messages: "\ud800" + answer(messages))
    assert ask(epic, tmp_path / "a.jsonl", answer) == []


def test_with_all_answers_there_no_endpoint_is_opened(epic: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    ask(epic, root / ANSWERS, lambda messages: answer(messages) if "stir" in messages[1]["content"] else "hm")
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


def test_a_changed_answer_file_is_named(epic: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"stretch": 1}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1"):
        ask(epic, file, answer)
