"""`sbr mini`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sbr.cli import main
from sbr.cli.mini import run
from sbr.errors import ConfigError


def test_build_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", str(tmp_path / "mini"), "--train", "1", "--val", "1", "--seed", "2", "--workers", "1"]
    run(words)
    assert "4 questions (1 for training, 1 a level); 4 drawn now, 0 were there" in capsys.readouterr().out
    run(words)
    assert "0 drawn now, 4 were there" in capsys.readouterr().out
    assert (tmp_path / "mini" / "annotations" / "validation_L3.jsonl").read_text().count("\n") == 1


def test_preview_is_a_small_picture(tmp_path: Path) -> None:
    run(["preview", str(tmp_path / "mini.png")])
    with Image.open(tmp_path / "mini.png") as sheet:
        assert sheet.width > 800 and sheet.height > 600
    assert (tmp_path / "mini.png").stat().st_size < 400_000


def test_a_preview_that_cannot_be_written_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main.run(["mini", "preview", str(tmp_path / "file" / "mini.png")]) == 2
    assert f"{tmp_path / 'file'}: File exists; something else is there" in capsys.readouterr().err


def test_help_lists_the_sub_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    text = capsys.readouterr().out
    assert "build" in text and "preview" in text


def test_an_unknown_sub_verb_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown sub-verb 'bild'"):
        run(["bild"])
