"""Annotation files, media and settings that nobody should have made: `sbr data`, `sbr mini`."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from cases import Case
from full_disk import full_disk
from house import Place

L1 = "data/annotations/validation_L1.jsonl"
COT = "data/annotations/training_with_cot_6k.jsonl"
DEEP = '{"a":' * 200_000 + "1" + "}" * 200_000
CHECK = ["data", "check", "data", "--no-media"]
CACHE = ["data", "cache", "data", "--splits", "L1", "--workers", "1", "--folder"]
EPIC = (
    "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,narration,verb_class,"
)
EPIC += "all_noun_classes\na_1,P01,P01_01,{},00:00:02.00,{},60,take cup,0,{}\n"


GOALS = "video_id,task_goal,start_frame,stop_frame\n"


def rows(name: str, content: str | bytes | Callable[[Place], object], *expected: str, file: str = L1) -> Case:
    """A file of rows in place of a good one; the check lists what is wrong (status 1) or refuses the file (2)."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        (place.path / file).unlink(missing_ok=True)
        if callable(content):
            content(place)
        else:
            place.write(file, content)
        return CHECK

    return Case(f"data check: {name}", make, expected, status=2 if callable(content) else 1)


def changed(name: str, *expected: str, **values: object) -> Case:
    """The first row of L1 with other values."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        place.write_lines(L1, [place.lines(L1)[0] | values])
        return CHECK

    return Case(f"data check: {name}", make, expected, status=1)


def chat(name: str, *expected: str, response: str = "r", **part: object) -> Case:
    image = {"type": "image", "image": "images/a.png"}
    turn = {"role": "user", "content": [image, {"type": "text", "text": "t"}], **part}
    return rows(name, json.dumps({"prompt": [turn], "response": response}) + "\n", *expected, file=COT)


def medium(name: str, key: str, make_file: Callable[[Path], object], *expected: str) -> Case:
    """The video or the image of one row of L1 replaced."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        row = next(row for row in place.lines(L1) if row["task_progress_metadata"])
        place.write_lines(L1, [row])
        folder = "videos" if key == "video_basename" else "images"
        file = place.path / "data" / folder / row["video_source"] / row[key]
        file.unlink()
        make_file(file)
        return [*CACHE, str(place.path.parent / f"{place.path.name}_frames")]

    return Case(f"data cache: {name}", make, expected, status=1)


def video(name: str, make_file: Callable[[Path], object], *expected: str) -> Case:
    return medium(name, "video_basename", make_file, *expected)


def image(name: str, make_file: Callable[[Path], object], *expected: str) -> Case:
    return medium(name, "current_observation_basename", make_file, *expected)


def png(width: int, height: int) -> bytes:
    """A picture that promises more than its few bytes hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def large_video(file: Path) -> None:
    """Two frames of 70 megapixels."""
    import av

    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 8400, 8400, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame(8400, 8400, "yuv420p")))
        container.mux(stream.encode())


def built(name: str, file: str, content: str | bytes | Callable[[Path], object], *expected: str) -> Case:
    """Action annotations for `sbr data build`; EPIC's frame rates lie beside them."""

    def make(place: Place) -> list[str]:
        place.write("EPIC_100_video_info.csv", "video_id,fps\nP01_01,50\n")
        if callable(content):
            content(place.path / file)
        else:
            place.write(file, content)
        goals = ["--goals", file] if file.startswith("goals") else []
        if goals:
            place.write("e.csv", EPIC.format("00:00:01.00", 50, "[2]"))
        return ["data", "build", "e.csv" if goals else file, "--out", "root", *goals]

    return Case(f"data build: {name}", make, expected)


def with_data(
    name: str,
    argv: str,
    *expected: str,
    full: tuple[str, ...] | None = None,
    prepare: Callable[[Place], object] = lambda place: None,
) -> Case:
    """`full`: on a full disk, where these empty folders may be left."""

    def make(place: Place) -> list[str]:
        place.copy("data")
        prepare(place)
        return argv.split()

    return Case(name, make, expected, may_change=full or (), around=None if full is None else full_disk)


def zero(place: Place) -> None:
    place.link(L1, "/dev/zero")


def tasks(place: Place) -> None:
    """Annotations that questions can be built from."""
    verbs = enumerate(("take", "wash", "put", "open", "cut", "stir"))
    steps = [{"narration_text": f"{v} cup", "start_frame": 40 * i, "stop_frame": 40 * i + 30} for i, v in verbs]
    row = {"task_goal": "make tea", "task_progress_metadata": steps}
    place.write_lines("t.jsonl", [{"video_uid": f"v{k}", **row} for k in range(9)])


def damaged_list(place: Place) -> None:
    place.write("out/mini.json", DEEP)


def endless_list(place: Place) -> None:
    place.link("out/mini.json", "/dev/zero")


CASES: tuple[Case, ...] = (
    changed("special token in the question", "without special tokens", question="x <|im_start|>system"),
    changed("special token in an option", "<|video_pad|>", choice_b="<|video_pad|>"),
    changed("terminal escapes", r"golden_choice_idx is '\x1b[2J'", golden_choice_idx="\x1b[2J"),
    changed("frame of 4,000 digits", "current_observation_frame is 1000", current_observation_frame=10**4000),
    changed("frame that is no number", "current_observation_frame is nan", current_observation_frame=float("nan")),
    changed("path of 4,000 bytes", "longer than 2048 bytes", current_observation_basename="/".join(["d" * 200] * 20)),
    changed("half a surrogate pair", "half of a surrogate pair", task_goal="\ud800"),
    rows("nested 200,000 deep", DEEP + "\n", "nested too deeply"),
    rows("integer of 5,000 digits", '{"a": ' + "9" * 5000 + "}\n", "4300 digits"),
    rows("100,000 keys, one twice", "{" + ",".join(f'"{i % 99_999}":1' for i in range(100_000)) + "}\n", "twice"),
    rows("line of 9 MB", '{"a": "' + "x" * (9 << 20) + '"}\n', "longer than 8,388,608 bytes"),
    rows("NUL bytes", bytes(1000), "not JSON"),
    rows("no UTF-8", b'{"sample_id": "\xff"}\n', "not UTF-8"),
    rows("empty", b"", "file is empty"),
    rows("a folder", lambda p: (p.path / L1).mkdir(), "validation_L1.jsonl", "it is a folder"),
    rows("a link to itself", lambda p: p.link(L1, "validation_L1.jsonl"), "Too many levels of symbolic links"),
    rows("an endless device", zero, "it is a device or a pipe"),
    rows("a pipe", lambda p: p.pipe(L1), "it is a device or a pipe"),
    rows("2 GB of nothing", lambda p: os.truncate(p.write(L1, ""), 2 << 30), "1,073,741,824 are the most"),
    chat("chat that ends with the assistant", "ends with the user's turn", role="assistant"),
    chat("chat without a picture", "0 videos and 0 images", content="t"),
    chat("special token in a response", "<|im_end|>", response="r<|im_end|>"),
    video("video of 70 megapixels a frame", large_video, "8,400 x 8,400 pixels"),
    video("playlist", lambda f: f.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "is no video"),
    video("empty video", lambda f: f.touch(), "0 bytes"),
    video("a link to itself", lambda f: f.symlink_to(f.name), "does not exist"),
    video("a pipe as video", lambda f: os.mkfifo(f), "is not a file"),
    image("169 megapixels", lambda f: f.write_bytes(png(13_000, 13_000)), "13,000 x 13,000 pixels"),
    image("50,000 x 50,000", lambda f: f.write_bytes(png(50_000, 50_000)), "make it smaller"),
    image("a folder as image", lambda f: f.mkdir(), "is not a file"),
    built("an endless device", "t.jsonl", lambda f: f.symlink_to("/dev/zero"), "it is a device or a pipe"),
    built("a pipe", "t.jsonl", lambda f: os.mkfifo(f), "it is a device or a pipe"),
    built("nested 200,000 deep", "t.jsonl", DEEP, "nested too deeply"),
    built("classes nested 2,000 deep", "e.csv", EPIC.format("00:00:01.00", 50, "[" * 2000), "all_noun_classes"),
    built("time of 5,000 digits", "e.csv", EPIC.format("1" * 5000 + ":00:01.00", 50, "[2]"), "start_timestamp"),
    built("frame of 5,000 digits", "goals.csv", GOALS + "P01_01,g," + "9" * 5000 + ",5\n", "start_frame"),
    built("goals on a device", "goals.csv", lambda f: f.symlink_to("/dev/zero"), "it is a device or a pipe"),
    with_data("data cache: large frames", "data cache data --height 1000000 --width 1000000", "height"),
    with_data(
        "data cache: full disk",
        "data cache data --folder frames --workers 1",
        "cannot be written",
        full=("frames", "frames/tmp"),
    ),
    with_data("data check: full disk", "data check data --quick --json report.json", "report.json", full=()),
    with_data(
        "data build: full disk",
        "data build t.jsonl --out root --l1 0",
        "root",
        full=("root", "root/annotations"),
        prepare=tasks,
    ),
    with_data("mini build: full disk", "mini build out --train 1 --val 1 --workers 1", "out", full=("out",)),
    with_data(
        "mini build: damaged list",
        "mini build out",
        "delete its folder",
        prepare=lambda p: p.write("out/mini.json", DEEP),
    ),
    with_data("mini build: list on a device", "mini build out", "mini.json", prepare=endless_list),
)
