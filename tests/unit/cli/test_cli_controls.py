"""`sbr controls` and the control flags of `sbr eval`, as a user calls them."""

from dataclasses import replace
from pathlib import Path

import pytest

from sbr.cli.eval import parse
from sbr.cli.main import run
from sbr.errors import ConfigError
from sbr.eval.records import LINES
from sbr.resume.journal import Journal
from sbr.types import EvalRecord

RECORD = EvalRecord(
    sample_id="0",
    level="L1",
    domain="Daily life",
    sample_index=0,
    prompt="p",
    options=("open tap", "close tap"),
    response="<answer>A</answer>",
    extracted="A",
    gold="A",
    correct=True,
    rule="official",
    completion_tokens=1,
    truncated=False,
    seconds=0.1,
)


def write(folder: Path, right: str, control: str) -> str:
    with Journal(folder / "records.jsonl", LINES) as file:
        file.append(
            [
                replace(
                    RECORD,
                    sample_id=str(i),
                    control=control,
                    correct=flag == "1",
                    extracted="A" if flag == "1" else None,
                    response="<answer>A</answer>" if flag == "1" else "?",
                )
                for i, flag in enumerate(right)
            ]
        )
    return str(folder)


def test_tables_are_printed_and_written(tmp_path, capsys):
    full, blind = write(tmp_path / "full", "1110", "none"), write(tmp_path / "blind", "1000", "blind")
    assert run(["controls", full, blind, "--out", str(tmp_path / "controls.md")]) == 0
    printed, text = capsys.readouterr().out, (tmp_path / "controls.md").read_text("utf-8")
    for title in ("What part of the score is not vision", "full against blind", "letters"):
        assert title in printed
        assert f"### {title}" in text
    assert "| L1 | 4 | 50.00 | 25.00 [4.56, 69.94] | 75.00 [30.06, 95.44] |" in text
    assert run(["controls", full]) == 0
    assert "not vision" not in capsys.readouterr().out


def test_wrong_use(tmp_path, capsys):
    full = write(tmp_path / "full", "1110", "none")
    assert run(["controls", full, full]) == 2
    assert "one evaluation twice" in " ".join(capsys.readouterr().err.split())
    assert run(["controls", str(tmp_path / "nowhere")]) == 2
    assert run(["controls", write(tmp_path / "blind", "10", "blind"), write(tmp_path / "im", "10", "no_video")]) == 2
    assert "give the ordinary evaluation too" in " ".join(capsys.readouterr().err.split())


def test_flags_of_eval(tmp_path):
    words = ["--model", "m", "--data", "d", "--out", str(tmp_path), "--dtype", "float32"]
    assert (parse(words).eval.control, parse(words).eval.shuffle_options) == ("none", False)
    assert parse([*words, "--blind", "--shuffle-options"]).eval.control == "blind"
    assert parse([*words, "--blind", "--shuffle-options"]).eval.shuffle_options
    assert parse([*words, "--no-video"]).eval.control == "no_video"
    with pytest.raises(ConfigError, match="--blind or --no-video, not both"):
        parse([*words, "--blind", "--no-video"])
