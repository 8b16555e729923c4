"""What is a data root, and links that lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbr.data.rows.layout import DataRoot
from sbr.errors import DataError

ROWS = Path("rows.jsonl")


def escape(data: DataRoot, medium: Path) -> str | None:
    problem = data.escape(medium, ROWS, 4, "video_basename")
    return None if problem is None else str(problem)


def test_media_lie_below_the_source(data_root):
    data = DataRoot(data_root)
    assert data.video("Ego4D", "a/b.mp4") == data_root / "videos" / "Ego4D" / "a" / "b.mp4"
    assert data.image("Ego4D", "b.png") == data_root / "images" / "Ego4D" / "b.png"


def test_a_relative_root_gives_absolute_paths(data_root, monkeypatch):
    monkeypatch.chdir(data_root.parent)
    assert DataRoot(Path("root")).video("s", "a.mp4") == data_root.resolve() / "videos" / "s" / "a.mp4"


def test_a_missing_annotation_file_is_an_error_that_names_those_there(data_root):
    data = DataRoot(data_root)
    folder = data_root / "annotations"
    with pytest.raises(DataError, match=r"t\.jsonl does not exist; .*annotations holds no \.jsonl file at all"):
        data.annotation_file("t.jsonl")
    for name in ("b.jsonl", "a.jsonl", "notes.txt"):
        (folder / name).touch()
    with pytest.raises(DataError, match=r"t\.jsonl does not exist; .* holds a\.jsonl, b\.jsonl$"):
        data.annotation_file("t.jsonl")
    (folder / "t.jsonl").mkdir()
    with pytest.raises(DataError, match=r"t\.jsonl cannot be opened: it is a folder"):
        data.annotation_file("t.jsonl")
    assert data.annotation_file("a.jsonl") == folder / "a.jsonl"


def test_what_is_no_data_root_is_described(data_root, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        DataRoot(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file, not a folder"):
        DataRoot(tmp_path / "file")
    with pytest.raises(DataError, match=r"no folder annotations/.*It holds file, root/\. Did you mean .*/root\?"):
        DataRoot(tmp_path)
    with pytest.raises(DataError, match=r"It holds nothing\. Did you mean .*/root\?"):
        DataRoot(data_root / "videos")


def test_a_long_listing_is_cut_at_eight(tmp_path):
    for i in range(11):
        (tmp_path / f"f{i:02}").touch()
    with pytest.raises(DataError, match=r"f06, f07 and 3 more\.$"):
        DataRoot(tmp_path)


def test_files_and_links_inside_and_media_that_do_not_exist_are_no_escape(data_root):
    source = data_root / "videos" / "s"
    source.mkdir()
    (source / "a.mp4").touch()
    (source / "link.mp4").symlink_to("a.mp4")
    (source / "image.mp4").symlink_to(data_root / "images" / "later.mp4")
    data = DataRoot(data_root)
    for name in ("a.mp4", "link.mp4", "image.mp4", "none.mp4", "no/folder.mp4"):
        assert escape(data, data.video("s", name)) is None, name


def test_a_link_out_of_the_root_is_an_escape(data_root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.mp4").touch()
    source = data_root / "videos" / "s"
    source.mkdir()
    (source / "a.mp4").symlink_to(outside / "a.mp4")
    (source / "hop.mp4").symlink_to("a.mp4")
    (source / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (data_root / "videos" / "folder").symlink_to(outside)
    data = DataRoot(data_root)
    expected = f", expected a file inside the data root {data_root.resolve()}"
    real = outside.resolve() / "a.mp4"
    for medium in ("s/a.mp4", "s/hop.mp4", "folder/a.mp4"):
        wanted = f"rows.jsonl:4: video_basename is 'videos/{medium}', a link to {real}{expected}"
        assert escape(data, data_root.resolve() / "videos" / medium) == wanted
    assert escape(data, data.video("s", "gone.mp4")) is not None


def test_a_folder_whose_name_only_begins_like_the_root_is_outside(data_root, tmp_path):
    (tmp_path / "root2").mkdir()
    (data_root / "videos" / "s").symlink_to(tmp_path / "root2")
    data = DataRoot(data_root)
    assert escape(data, data.video("s", "a.mp4")) is not None


def test_the_media_folders_themselves_may_be_links_to_another_disk(data_root, tmp_path):
    disk = tmp_path / "disk"
    (disk / "clips" / "s").mkdir(parents=True)
    (disk / "clips" / "s" / "a.mp4").touch()
    (disk / "other.mp4").touch()
    (disk / "clips" / "s" / "b.mp4").symlink_to(disk / "other.mp4")
    (data_root / "videos").rmdir()
    (data_root / "videos").symlink_to(disk / "clips")
    data = DataRoot(data_root)
    assert escape(data, data.video("s", "a.mp4")) is None
    assert escape(data, data.video("s", "b.mp4")) is not None


def test_missing_media_folders_are_named_when_they_are_needed(data_root):
    data = DataRoot(data_root)
    data.require_media_folders(videos=True)
    (data_root / "videos").rmdir()
    data.require_media_folders(videos=False)
    with pytest.raises(DataError, match="has no folder videos/"):
        data.require_media_folders(videos=True)
    (data_root / "images").rmdir()
    with pytest.raises(DataError, match="has no folder images/"):
        data.require_media_folders(videos=False)
