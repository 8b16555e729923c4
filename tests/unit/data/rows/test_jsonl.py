"""Lines of JSON: what is refused and why, and files that are replaced at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbr.data.rows.jsonl import DuplicateKeyError, parse_lines, shown, unique_keys
from sbr.files import replace_file

NAME = Path("x.jsonl")


def test_good_lines_have_their_number_size_and_values():
    lines = list(parse_lines(NAME, [b'{"a": 1}\n', '{"b": "é\u2028"}\r\n'.encode(), b' {"c": [null]}']))
    assert [(line.number, line.size, line.values, line.problem) for line in lines] == [
        (1, 9, {"a": 1}, None),
        (2, 16, {"b": "é\u2028"}, None),
        (3, 14, {"c": [None]}, None),
    ]


def test_a_byte_order_mark_is_accepted_on_the_first_line_only():
    first, second = parse_lines(NAME, [b'\xef\xbb\xbf{"a": 1}\n', b'\xef\xbb\xbf{"a": 1}\n'])
    assert (first.values, first.size) == ({"a": 1}, 12)
    assert second.values is None and second.problem is not None


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"\n", "blank"),
        (b" \t\r\n", "blank"),
        (b"[]\n", "a JSON list"),
        (b'"a"', "a JSON str"),
        (b"null", "a JSON NoneType"),
        (b"3", "a JSON int"),
        (b'{"a": 1', "not JSON (Expecting ',' delimiter at column 8)"),
        (b'{"a": 1} {"b": 2}\n', "not JSON (Extra data at column 10)"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 0xff at position 8)"),
        (b'{"a": 1, "b": 2, "b": 2}', "an object that has the key 'b' twice"),
        (b'{"a": {"k": 1, "k": 2}}', "an object that has the key 'k' twice"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_the_next_one_still_read(raw, found):
    bad, good = parse_lines(NAME, [raw, b'{"z": 0}\n'])
    assert bad.values is None and bad.size == len(raw)
    assert str(bad.problem) == f"x.jsonl:1: line is {found}, expected one JSON object"
    assert (good.number, good.values) == (2, {"z": 0})


def test_an_integer_with_thousands_of_digits_is_a_problem_and_no_traceback():
    (line,) = parse_lines(NAME, [b'{"a": ' + b"9" * 5000 + b"}"])
    assert line.problem is not None and line.problem.found.startswith("not JSON (Exceeds the limit")


def test_lines_are_parsed_as_they_come():
    def source():
        yield b"{}\n"
        raise AssertionError("read ahead")

    assert next(parse_lines(NAME, source())).values == {}


def test_unique_keys_names_the_first_repeated_one():
    assert unique_keys([("a", 1), ("b", 1)]) == {"a": 1, "b": 1}
    with pytest.raises(DuplicateKeyError, match=r"^b$"):
        unique_keys([("a", 1), ("b", 1), ("c", 1), ("c", 2), ("b", 2)])


def test_quoted_values_are_cut_at_80_characters():
    assert shown("x" * 78) == "'" + "x" * 78 + "'"
    assert shown("x" * 79) == "'" + "x" * 76 + "..."
    assert shown({"a": None}) == "{'a': None}"


def test_a_file_is_replaced_and_its_folders_made(tmp_path):
    file = tmp_path / "a" / "b" / "rows.jsonl"
    replace_file(file, b"old, and longer")
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in file.parent.iterdir()] == ["rows.jsonl"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        assert file.read_bytes() == b"old"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
