"""Annotation files as lines, within limits."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sbr.data.rows import lines
from sbr.data.rows.jsonl import parse_lines
from sbr.data.rows.lines import file_bytes, file_lines
from sbr.errors import DataError


def test_lines_keep_their_endings_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"a\r\nb\n\nc")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"a\r\nb\n\nc"))
    for name in ("a.jsonl", "a.jsonl.gz"):
        assert list(file_lines(tmp_path / name)) == [b"a\r\n", b"b\n", b"\n", b"c"]


def test_a_long_line_is_cut_and_the_next_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 10)
    monkeypatch.setattr("sbr.data.rows.jsonl.LONGEST_LINE", 10)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n' + b"x" * 95 + b'\n{"b": 2}\n')
    parsed = list(parse_lines(file, file_lines(file)))
    assert [line.values for line in parsed] == [{"a": 1}, None, {"b": 2}]
    assert parsed[1].problem is not None and parsed[1].problem.found == "longer than 10 bytes"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack) -> None:
    monkeypatch.setattr(lines, "LARGEST_FILE", 1000)
    file = tmp_path / ("a.jsonl" if pack is bytes else "a.jsonl.gz")
    file.write_bytes(pack(b"x\n" * 500))
    assert len(list(file_lines(file))) == 500
    file.write_bytes(pack(b"x\n" * 501))
    with pytest.raises(DataError, match="1,000"):
        list(file_lines(file))


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("folder", "folder"),
        ("loop", "symbolic links"),
        ("pipe", "pipe"),
        ("nowhere", "No such file"),
    ):
        with pytest.raises(DataError, match=words):
            list(file_lines(tmp_path / name))
        with pytest.raises(DataError, match=name):
            file_bytes(tmp_path / name)
    with pytest.raises(DataError, match="a device"):
        list(file_lines(Path("/dev/zero")))
