"""Files are the old one or the new one, and a full disk is said to be full, whoever meets it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import full_disk
from safetensors.numpy import save_file

from sbr.errors import ConfigError, DataError
from sbr.files import read_file, replace_file, replace_output, writing


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    replace_file(file, b"old")
    with full_disk(room=100), pytest.raises(OSError, match="too large") as caught:
        replace_file(file, b"x" * 1000)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(file))
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.md"]
    assert file.read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError) as caught:
        replace_file(tmp_path / "a" / "b", b"x")
    assert str(caught.value.filename) == str(tmp_path / "a")


def test_safetensors_and_torch_name_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    with full_disk(room=100), pytest.raises(OSError) as caught, writing(file):
        save_file({"a": np.zeros(1000)}, str(file))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(file))
    with full_disk(room=100), pytest.raises(OSError) as caught, writing(file):
        torch.save(torch.zeros(1000), file)
    assert caught.value.filename == str(file)


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bug"), writing(tmp_path / "a"):
        raise ValueError("a bug")
    with pytest.raises(OSError, match="a library's words"), writing(tmp_path / "a"):
        raise OSError("a library's words")


def test_the_errno_is_kept(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), writing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_only_what_we_wrote_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    replace_output(file, b"### one", b"### ")
    replace_output(file, b"### two", b"### ")
    assert file.read_bytes() == b"### two"
    file.write_bytes(b"")
    replace_output(file, b"### three", b"### ")
    for content in (b"my notes", b"#"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"table\.md holds something else .* left as it is"):
            replace_output(file, b"### four", b"### ")
        assert file.read_bytes() == content


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "dangling", "device"])
def test_what_is_no_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    place = Path("/dev/null") if kind == "device" else tmp_path / "place"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind != "device":
        place.symlink_to(place if kind == "loop" else tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="a folder" if kind == "folder" else "no ordinary file"):
        replace_output(place, b"### one", b"### ")
    assert os.path.lexists(place) and not place.is_file()


def test_an_ordinary_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("a")
    assert read_file(tmp_path / "link", 100, "advice") == b"x" * 100


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere does not exist; take another"),
        ("folder", "folder is a folder; take another"),
        ("pipe", "pipe is no ordinary file; take another"),
        ("loop", "loop cannot be read: Too many levels of symbolic links; take another"),
        ("large", "large holds more than 10 bytes; take another"),
        ("large/below", "below cannot be read: Not a directory; take another"),
        ("a\0b", "cannot be read: embedded null byte; take another"),
        ("x" * 300, "cannot be read: File name too long; take another"),
        ("/dev/zero", "/dev/zero is no ordinary file; take another"),
        ("/proc/self/mem", "/proc/self/mem cannot be read: Input/output error; take another"),
        ("/proc/self/environ", "/proc/self/environ holds more than 10 bytes; take another"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / name, 10, "take another")
    assert str(caught.value).endswith(words)
