"""JSON arrays of rows: every problem with line, row and field; what is no array is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sbr.data.rows.fields import RowFields
from sbr.data.rows.json_array import read_array, require_array_file
from sbr.errors import AnnotationError, DataError


def name_of(fields: RowFields) -> str:
    return fields.text("name")


def written(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "rows.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_rows_come_as_the_json_module_reads_them(tmp_path, indent, mark):
    rows = [{"name": "[open], tap"}, {"name": 'say "hello"', "more": [1, {"x": "]"}]}, {"name": "汉字"}]
    file = written(tmp_path, mark + json.dumps(rows, indent=indent, ensure_ascii=False).encode())
    assert read_array(file, lambda fields: dict(fields.values)) == rows
    assert read_array(file, name_of) == [row["name"] for row in rows]


def test_every_problem_has_line_row_and_field(tmp_path):
    file = written(tmp_path, '[{"name": "a"},\n {"name": 7},\n\n {\n"nam": "c"}]')
    with pytest.raises(AnnotationError) as caught:
        read_array(file, name_of)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:2: row 2, name is 7, expected a text",
        f"{file}:4: row 3, name is missing, expected a text",
    ]
    assert "download the file again" in str(caught.value)
    assert "sbr data check" not in str(caught.value)  # it does not read these files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"begins with '', expected \["),
        ('{"name": "a"}', r"begins with '\{\"name\": \"a\"\}', expected \["),
        ("[]", "empty array"),
        ('[{"name": "a"}', r":1: row 1 is followed by '', expected a comma or \]; cut short\?"),
        ('[{"name": "a"},', r":1: row 2: not JSON \(Expecting value"),
        ('[{"name": "a"},\n{"name": "b]', r":2: row 2: not JSON \(Unterminated string"),
        ('[{"name": "a"},]', r"row 2: not JSON"),
        ('[{"name": "a"} {"name": "b"}]', "row 1 is followed by"),
        ('[{"name": "a", "name": "b"}]', "row 1 has the key 'name' twice"),
        ('[{"name": "a"}, 3]', "row 2 is 3, expected one JSON object"),
        ('[{"name": "a"}] x', "has 'x' after its array"),
        (b'[{"name": "\xff"}]', "is not UTF-8"),
    ],
)
def test_what_is_no_array_of_objects_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_array(written(tmp_path, text), name_of)


def test_a_missing_file_says_what_is_there(tmp_path):
    with pytest.raises(DataError, match=r"no \.json file at all"):
        require_array_file(tmp_path, "a.json", ["a.json"])
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(DataError, match=r"holds b\.json\. This source has a\.json"):
        require_array_file(tmp_path, "a.json", ["a.json"])
    with pytest.raises(DataError, match="is not a folder"):
        require_array_file(tmp_path / "nowhere", "a.json", ["a.json"])
    assert require_array_file(tmp_path, "b.json", ["a.json"]) == tmp_path / "b.json"
