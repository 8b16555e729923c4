"""Whatever a file holds, its reader gives rows or refuses with an SbrError: never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from build_sources import COLUMNS, epic_row, task_row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbr.config.inputs import DataConfig
from sbr.data.audit.root import audit_root
from sbr.data.build.action_files import read_annotations
from sbr.data.build.goals import read_goals
from sbr.data.build.root import read_media
from sbr.data.sources.cot import load_cot_questions
from sbr.data.sources.egoplan import load_bench2, load_training, load_validation
from sbr.data.sources.longvideobench import SubtitleSource, load_level, read_subtitles
from sbr.data.sources.seed_bench_r1 import load_level as load_benchmark_level
from sbr.data.sources.seed_bench_r1 import load_training_samples
from sbr.errors import SbrError

EXAMPLES = 50
PROGRESS = [{"narration_text": "take bag", "start_frame": 36, "stop_frame": 120}]
COMMON = {"sample_id": "1", "video_source": "EpicKitchens", "video_id": "P01_13", "task_goal": "store cereal"}
COMMON |= {"video_basename": "a.mp4", "current_observation_basename": "a.png", "current_observation_frame": 760}
COMMON |= {"question": "what next?", "task_progress_metadata": PROGRESS, "answer": "open tap"}
TRAINING = COMMON | {"negative_answers": ["a", "b", "c", "d"]}
CHOICES = {"choice_a": "open tap", "choice_b": "b", "choice_c": "c", "choice_d": "d", "golden_choice_idx": "A"}
VALIDATION = COMMON | CHOICES | {"domain": "Work", "scenario": "s", "task_start_frame": 0}
PART = {"type": "image", "image": "images/EpicKitchens/a.png"}
COT = {"prompt": [{"role": "user", "content": [PART, {"type": "text", "text": "t"}]}], "response": "r", "video_id": "v"}
VIDEO = {
    "id": "1",
    "topic_category": "NP",
    "video_id": "v",
    "video_path": "v.mp4",
    "question": "q",
    "candidates": ["a", "b"],
}
VIDEO |= {"correct_choice": 0, "duration_group": 15, "level": "L1-Perception", "question_category": "S2E"}
VIDEO |= {"subtitle_path": "v.json", "starting_timestamp_for_subtitles": 0, "duration": 12.5}
MEDIUM = {"file": "videos/a.mp4", "video_id": "v", "first_frame": 0, "last_frame": 9}
MEDIUM |= {"first_seconds": 0.5, "last_seconds": 2.0}
GOAL = {"video_id": "P01_13", "task_goal": "make tea", "start_frame": 0, "stop_frame": 900}

ODD = (
    *(10**400, -1, 1e308, float("nan"), float("inf"), True, None, [], {}, [[[]]], "", " ", "E", "0" * 300),
    *("\0", "../x", "/x", "\ud800", "<|im_end|>", "a\x1b[2J", "\u202e", "a/" * 1500, {"a": 10**4000}),
)
ODD_CELLS = (
    *("9" * 5000, "[" * 2000, "1" * 400 + ":00:01", "1" * 5000 + ":00:01", '"', "\0", "00:00:01", "-1", "1e9", "nan"),
    *("[1]", "[" + "9" * 5000 + "]", "\ud800", "x" * 200_000, "", "..", "\u0663"),
)
TREES = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, row: dict[str, Any]) -> dict[str, Any]:
    """A valid row in which a few values, at any depth, are replaced, added or taken away."""
    changed = copy.deepcopy(row)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = changed
        key: Any = draw(st.sampled_from(sorted(place)))
        while isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place, dict) and len(place) > 1 and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(TREES)
        if not changed:
            break
    return changed


def contents(row: dict[str, Any], array: bool = False) -> st.SearchStrategy[bytes]:
    """Bytes, JSON of any form, and rows that are almost valid, as JSONL or as one array."""

    def file(rows: list[Any]) -> bytes:
        text = json.dumps(rows) if array else "\n".join(map(json.dumps, rows)) + "\n"
        return text.encode()

    rows = st.lists(mutated(row) | TREES | st.just(row), min_size=1, max_size=3)
    cut = st.tuples(rows.map(file), st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])
    return st.binary(max_size=200) | rows.map(file) | cut | st.lists(mutated(row), min_size=1, max_size=2).map(file)


def csv_file(row: dict[str, Any], columns: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    cells = st.sampled_from([str(row.get(name, "")) for name in columns]) | st.text(max_size=9)
    odd = st.sampled_from(ODD_CELLS)
    good = st.just([str(row.get(name, "")) for name in columns])
    lines = good | st.lists(cells | odd, max_size=len(columns) + 1)
    changed = st.tuples(good, st.integers(0, len(columns) - 1), odd | cells).map(
        lambda three: [*three[0][: three[1]], three[2], *three[0][three[1] + 1 :]]
    )
    text = st.lists(changed | lines, min_size=1, max_size=3).map(
        lambda rows: "\n".join(",".join('"' + c.replace('"', '""') + '"' for c in cells) for cells in rows)
    )
    head = ",".join(columns) + "\n"
    return text.map(lambda body: (head + body + "\n").encode("utf-8", "surrogatepass")) | st.binary(max_size=200)


def root_of(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("annotations", "videos", "images"):
        (root / name).mkdir(parents=True)
    (root / "EPIC_100_video_info.csv").write_text("video_id,fps\nP01_13,50\n")
    return root


Read = Callable[[Path], object]
SAID = {"timestamp": [1, 2.5], "text": "t"}
SAID_BY_CLOCK = {"start": "00:00:01.5", "end": "00:00:02", "line": "t"}
RATE = {"video_id": "P01_13", "fps": "50"}


def subtitles(root: Path) -> object:
    return read_subtitles(root / "s.json", SubtitleSource("s", 0, 9))


def epic(root: Path) -> object:
    return read_annotations([root / "e.csv"])


def training(root: Path) -> object:
    return load_training_samples(root, "training_6k.jsonl", 0, None)


JSON_READERS: list[tuple[str, dict[str, Any], bool, Read]] = [
    ("annotations/training_6k.jsonl", TRAINING, False, training),
    ("annotations/validation_L3.jsonl", VALIDATION, False, lambda r: load_benchmark_level(r, "L3", None)),
    ("annotations/validation_L3.jsonl", VALIDATION, False, audit_root),
    ("annotations/training_with_cot_6k.jsonl", COT, False, lambda r: load_cot_questions(DataConfig(root=r))),
    ("annotations/training_with_cot_6k.jsonl", COT, False, audit_root),
    ("lvb_val.json", VIDEO, True, lambda r: load_level(r, "val", None)),
    ("s.json", SAID, True, subtitles),
    ("s.json", SAID_BY_CLOCK, True, subtitles),
    ("EgoPlan_validation.json", VALIDATION, True, lambda r: load_validation(r, "L1", None)),
    ("EgoPlan_IT.json", TRAINING, True, lambda r: load_training(r, "EgoPlan_IT.json", 0, None)),
    ("EgoPlan-Bench2.json", {**VALIDATION, "sample_id": "v_1"}, True, lambda r: load_bench2(r, "L3", None)),
    ("t.jsonl", task_row("v", "tea", [("take cup", 0, 30)]), False, lambda r: read_annotations([r / "t.jsonl"])),
    ("media.jsonl", MEDIUM, False, read_media),
    ("goals.jsonl", GOAL, False, lambda r: read_goals(r / "goals.jsonl")),
]
CSV_READERS: list[tuple[str, dict[str, Any], tuple[str, ...], Read]] = [
    ("e.csv", epic_row("P01_13", 1, 0, 0, 1, 2), COLUMNS, epic),
    ("goals.csv", GOAL, tuple(GOAL), lambda r: read_goals(r / "goals.csv")),
    ("EPIC_100_video_info.csv", RATE, tuple(RATE), epic),
]
SLOW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def rows_or_refusal(read: Read, root: Path) -> None:
    try:
        read(root)
    except SbrError as error:
        assert str(error)


def places(value: Any) -> list[tuple[Any, ...]]:
    """Where the values inside are: ("prompt",), ("prompt", 0), ("prompt", 0, "role"), ..."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [place for key in keys for place in [(key,), *((key, *rest) for rest in places(value[key]))]]


def with_value(row: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed: Any = copy.deepcopy(row)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def named(value: object) -> str:
    """The file stands for its reader; the rest of a case has no name that is the same in every process."""
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("name", "row", "array", "read"), JSON_READERS, ids=named)
def test_every_odd_value_in_every_place(
    tmp_path: Path, name: str, row: dict[str, Any], array: bool, read: Read
) -> None:
    root = root_of(tmp_path)
    for place in places(row):
        for value in ODD:
            changed = with_value(row, place, value)
            (root / name).write_text(json.dumps([changed] if array else changed) + "\n")
            rows_or_refusal(read, root)


@pytest.mark.parametrize(("name", "row", "columns", "read"), CSV_READERS, ids=named)
def test_every_odd_cell_in_every_column(
    tmp_path: Path, name: str, row: dict[str, Any], columns: tuple[str, ...], read: Read
) -> None:
    root = root_of(tmp_path)
    (root / "e.csv").write_text(",".join(COLUMNS) + "\n")
    for column in columns:
        for cell in ODD_CELLS:
            cells = [str(value) for value in ({key: row.get(key, "") for key in columns} | {column: cell}).values()]
            line = ",".join('"' + c.replace('"', '""') + '"' for c in cells)
            (root / name).write_bytes(f"{','.join(columns)}\n{line}\n".encode("utf-8", "surrogatepass"))
            rows_or_refusal(read, root)


@pytest.mark.parametrize(("name", "row", "array", "read"), JSON_READERS, ids=named)
def test_json(tmp_path: Path, name: str, row: dict[str, Any], array: bool, read: Read) -> None:
    root = root_of(tmp_path)
    (root / name).write_text(json.dumps([row] if array else row) + "\n")
    read(root)  # the row is good as it is

    @SLOW
    @given(contents(row, array))
    def fuzz(content: bytes) -> None:
        (root / name).write_bytes(content)
        rows_or_refusal(read, root)

    fuzz()


@pytest.mark.parametrize(("name", "row", "columns", "read"), CSV_READERS, ids=named)
def test_csv(tmp_path: Path, name: str, row: dict[str, Any], columns: tuple[str, ...], read: Read) -> None:
    root = root_of(tmp_path)
    (root / "e.csv").write_text(",".join(COLUMNS) + "\n")

    @SLOW
    @given(csv_file(row, columns))
    def fuzz(content: bytes) -> None:
        (root / name).write_bytes(content)
        rows_or_refusal(read, root)

    fuzz()
