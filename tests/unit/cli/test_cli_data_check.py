"""`sbr data check`: exit status, report and JSON of a small root with real media."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sbr.cli.main import run

CHOICES = {"choice_a": "open tap", "choice_b": "take cup", "choice_c": "close tap", "choice_d": "pour water"}


def row(i: int, source: str, video_id: str, **more: object) -> dict[str, object]:
    return {
        "sample_id": i,
        "video_source": source,
        "video_id": video_id,
        "video_basename": f"{video_id}_{i}.mp4",
        "current_observation_basename": f"{video_id}_{i}.png",
        "current_observation_frame": 100 + i,
        "task_goal": "drink",
        "question": "what next?",
        "answer": "open tap",
        "task_progress_metadata": [{"narration_text": "take cup", "start_frame": 1, "stop_frame": 9}],
        **more,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    negatives = ["take cup", "close tap", "pour water"]
    gold = CHOICES | {"golden_choice_idx": "A"}
    rows = {
        "training_6k.jsonl": [row(i, "EpicKitchens", "P01_01", negative_answers=negatives) for i in range(3)],
        "validation_L1.jsonl": [row(0, "EpicKitchens", "P01_02", **gold)],
        "validation_L2.jsonl": [row(0, "Ego4D", "b", **gold)],
        "validation_L3.jsonl": [row(0, "Ego4D", "c", domain="Work", **gold)],
    }
    (root / "annotations").mkdir(parents=True)
    for name, lines in rows.items():
        (root / "annotations" / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        for line in lines:
            source = str(line["video_source"])
            (root / "videos" / source).mkdir(parents=True, exist_ok=True)
            (root / "images" / source).mkdir(parents=True, exist_ok=True)
            write_clip(root / "videos" / source / str(line["video_basename"]), frames=10)
            image = root / "images" / source / str(line["current_observation_basename"])
            Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    return root


def write_clip(file: Path, frames: int) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def check(root: Path, *flags: str) -> int:
    """Exit status, as the shell sees it."""
    try:
        return run(["data", "check", str(root), "--workers", "2", *flags])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0


def report(root: Path, status: int, capsys: pytest.CaptureFixture[str], *flags: str) -> dict:
    """The JSON of `--json -`, which is all that standard output holds."""
    capsys.readouterr()
    assert check(root, *flags, "--json", "-") == status
    return json.loads(capsys.readouterr().out)


def test_a_good_root(root, capsys):
    assert check(root) == 0
    text = capsys.readouterr().out
    assert "nothing is wrong" in text and "6 rows and 12 media" in text
    found = report(root, 0, capsys)
    assert found["ok"] is True and found["media"]["full"] is False and found["media"]["broken"] == []
    media = {Path(split["file"]).name: split for split in found["media"]["splits"]}
    assert media["training_6k.jsonl"]["videos"] == 3 and media["training_6k.jsonl"]["images"] == 3
    assert media["validation_L3.jsonl"]["seconds"] == {"low": 2.0, "median": 2.0, "high": 2.0}
    assert "named" not in found


def test_broken_media_are_named_and_quick_does_not_see_them(root, capsys):
    clip = root / "videos/EpicKitchens/P01_01_1.mp4"
    clip.write_bytes(clip.read_bytes()[:300])
    (root / "videos/Ego4D/b_0.mp4").write_text("404 not found")
    (root / "images/Ego4D/c_0.png").write_bytes(b"")
    assert check(root) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "media that cannot be used: 2" in text and "missing media: 1" in text
    assert "P01_01_1.mp4" in text and "it holds text ('404 not found')" in text and "c_0.png (empty;" in text
    found = report(root, 1, capsys)
    assert [(Path(medium["path"]).name, medium["line"], medium["rows"]) for medium in found["media"]["broken"]] == [
        ("P01_01_1.mp4", 2, 1),
        ("b_0.mp4", 1, 1),
    ]
    assert found["ok"] is False
    (root / "images/Ego4D/c_0.png").write_bytes(b"no picture")
    found = report(root, 0, capsys, "--quick")
    assert found["media"] is None and found["ok"] is True


def test_full_decodes_everything(root, capsys):
    assert report(root, 0, capsys, "--full")["media"]["full"] is True


def test_counts_of_the_paper_are_wanted_only_on_request(root, capsys):
    assert report(root, 0, capsys, "--quick")["miscounts"] == []
    found = report(root, 1, capsys, "--quick", "--expect", "paper")
    assert {"what": "rows", "expected": 923, "found": 1}.items() <= found["miscounts"][3].items()
    check(root, "--quick", "--expect", "paper")
    assert "validation_L2.jsonl: 1 rows, expected 923" in capsys.readouterr().out


def test_leaks_are_listed(root, capsys):
    file = root / "annotations/validation_L2.jsonl"
    line = json.loads(file.read_text()) | {"video_id": "P01_01", "video_source": "EpicKitchens"}
    file.write_text(json.dumps(line) + "\n")
    (root / "videos/EpicKitchens/b_0.mp4").write_bytes((root / "videos/Ego4D/b_0.mp4").read_bytes())
    (root / "images/EpicKitchens/b_0.png").write_bytes((root / "images/Ego4D/b_0.png").read_bytes())
    assert check(root) == 1
    text = capsys.readouterr().out
    assert "validation_L2.jsonl and training_6k.jsonl: video EpicKitchens/P01_01" in text
    assert "validation_L2.jsonl and training_6k.jsonl, lines 1 and 1: the same question" in text
    assert "validation_L2.jsonl and training_6k.jsonl: kitchen of P01" in text


def test_report_goes_to_a_file(root, tmp_path, capsys):
    target = tmp_path / "deep" / "report.json"
    assert check(root, "--quick", "--json", str(target)) == 0
    assert json.loads(target.read_text())["ok"] is True
    assert "full report:" in capsys.readouterr().out
    assert check(root, "--quick", "--json", str(root)) == 2
    assert "is a folder; name the file to write" in capsys.readouterr().err
    rows = root / "annotations" / "validation_L1.jsonl"
    before = rows.read_bytes()
    assert check(root, "--quick", "--json", str(rows)) == 2
    assert "holds something else" in capsys.readouterr().err
    assert rows.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--quick", "--full"], "give one of the two"), (["--workers", "-1"], "expected 0 or more")],
)
def test_wrong_use_exits_with_2(root, flags, words, capsys):
    assert check(root, *flags) == 2
    assert words in capsys.readouterr().err


def test_a_folder_that_is_no_root_exits_with_2(tmp_path, capsys):
    assert check(tmp_path) == 2
    assert "is not a data root" in capsys.readouterr().err
