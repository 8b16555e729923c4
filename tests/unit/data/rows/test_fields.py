"""Which names may be joined to a folder; the other fields are tested through whole rows (test_annotations.py)."""

from __future__ import annotations

import pytest

from sbr.data.rows.fields import path_fault


@pytest.mark.parametrize(
    "name", ["P01_13_760.png", "P01/rgb/1.png", "a..b.png", ".hidden", "...", "é" * 127, "C d.png"]
)
def test_names_below_a_folder_are_accepted(name):
    assert path_fault(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("/a.png", "an absolute path"),
        ("//host/a.png", "an absolute path"),
        ("C:/a.png", "an absolute path"),
        ("C:a.png", "an absolute path"),
        ("..", "a path with '..'"),
        ("a/../b.png", "a path with '..'"),
        ("a/..", "a path with '..'"),
        ("a\\..\\b.png", "a path with a NUL or a backslash"),
        ("a\0.png", "a path with a NUL or a backslash"),
        (".", "a folder"),
        ("a/", "a folder"),
        ("a/.", "a folder"),
        ("x" * 256, "a name longer than 255 bytes"),
        ("é" * 128 + "/a.png", "a name longer than 255 bytes"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, fault):
    assert path_fault(name) == fault
