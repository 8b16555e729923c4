"""Asking a model for goals: what is kept when it fails, what is asked again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))
from build_sources import kitchen, write_epic

from sbr.data.build.action_files import read_annotations
from sbr.data.build.goals import Messages, goals_of, stretches
from sbr.distill.goals import ask_all, goal_journal
from sbr.errors import DataError, EndpointError


@pytest.fixture
def epic(tmp_path: Path) -> Path:
    return write_epic(tmp_path, kitchen(["P01_11", "P01_12", "P01_13", "P02_01", "P03_01", "P04_01"], 12))


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


def test_a_changed_answer_file_is_named(epic: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"stretch": 1}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1"):
        ask(epic, file, answer)
