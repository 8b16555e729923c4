"""`sbr data build` asks a real HTTP server for goals: what is sent, what is kept, and that nothing is asked twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Said, completion

sys.path.append(str(Path(__file__).parents[1] / "unit" / "data"))
from build_sources import kitchen, write_epic

from sbr.cli.main import run

VIDEOS = ["P01_11", "P01_12", "P02_01", "P03_01"]


def goals(number: int, body: dict[str, Any]) -> Said:
    """One task over all the actions; the second answer is no JSON."""
    last = len(body["messages"][1]["content"].splitlines())
    return completion("hm" if number == 1 else json.dumps([{"goal": "make tea", "first": 1, "last": last}]))


def test_goals_are_inferred_kept_and_not_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_epic(tmp_path, kitchen(VIDEOS, 12))
    root = tmp_path / "root"
    with ChatServer(goals) as server:
        command = ["data", "build", str(file), "--out", str(root), "--goal-url", server.url, "--goal-model", "m"]
        command += ["--l2", "0", "--concurrency", "1"]
        assert run(command) == 0
        asked = [r for r in server.requests if "messages" in r]
        assert len(asked) == 4 and all(r["temperature"] == 0 and r["model"] == "m" for r in asked)
        assert asked[0]["messages"][1]["content"].startswith("1. ")
        first = {f.name: f.read_bytes() for f in sorted((root / "annotations").iterdir())}
    report = json.loads((root / "build_report.json").read_text())
    assert report["goals"]["answers that cannot be read"] == 1 and report["goals"]["goals"] == 3
    assert report["goals"]["actions without a goal"] == 12
    capsys.readouterr()
    assert run(command) == 0  # the server is gone and nobody misses it
    assert {f.name: f.read_bytes() for f in sorted((root / "annotations").iterdir())} == first


def test_a_server_that_fails_loses_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_epic(tmp_path, kitchen(VIDEOS, 12))
    command = ["data", "build", str(file), "--out", str(tmp_path / "root"), "--goal-model", "m", "--concurrency", "1"]
    broken = Said({"error": {"message": "bad request"}}, status=400)
    with ChatServer(lambda n, body: goals(0, body) if n < 2 else broken) as server:
        assert run([*command, "--goal-url", server.url]) == 2
    assert "400" in capsys.readouterr().err
    with ChatServer(lambda n, body: goals(0, body)) as server:
        assert run([*command, "--goal-url", server.url]) == 0
        assert len([r for r in server.requests if "messages" in r]) == 2


def test_an_answer_that_is_cut_off_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_epic(tmp_path, kitchen(VIDEOS, 12))
    root = tmp_path / "root"
    command = ["data", "build", str(file), "--out", str(root), "--goal-model", "m", "--concurrency", "1", "--l2", "0"]

    def cut_off(number: int, body: dict[str, Any]) -> Said:
        said = goals(0, body)
        if number == 1:
            said.body["choices"][0]["finish_reason"] = "length"
        return said

    with ChatServer(cut_off) as server:
        assert run([*command, "--goal-url", server.url, "--goal-tokens", "77"]) == 0
        assert {r.get("max_tokens", r.get("max_completion_tokens")) for r in server.requests if "messages" in r} == {77}
    assert "1 of 4 answers were cut off at 77 tokens" in " ".join(capsys.readouterr().out.split())
    counts = json.loads((root / "build_report.json").read_text())["goals"]
    assert (counts["goals"], counts["stretches without an answer"]) == (3, 1)
    with ChatServer(lambda n, body: goals(0, body)) as server:
        assert run([*command, "--goal-url", server.url]) == 0
        assert len([r for r in server.requests if "messages" in r]) == 1
    assert json.loads((root / "build_report.json").read_text())["goals"]["goals"] == 4
