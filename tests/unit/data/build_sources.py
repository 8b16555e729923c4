"""Small annotation files for the tests of `sbr data build`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

COLUMNS = (
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp"),
    *("start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns"),
    "all_noun_classes",
)
VERBS = ("take", "put", "open", "close", "wash", "cut", "stir", "pour")
NOUNS = ("cup", "plate", "pan", "knife", "tap", "onion")


def clock(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:05.2f}"


def epic_row(
    video: str, number: int, verb: int, noun: int, start: float, stop: float, **changes: Any
) -> dict[str, Any]:
    """An action; frames count at 60 a second, as in the recordings of EPIC-KITCHENS-55."""
    return {
        "narration_id": f"{video}_{number}",
        "participant_id": video.split("_")[0],
        "video_id": video,
        "narration_timestamp": "",
        "start_timestamp": clock(start),
        "stop_timestamp": clock(stop),
        "start_frame": int(start * 60) + 1,
        "stop_frame": int(stop * 60),
        "narration": f"{VERBS[verb]} {NOUNS[noun]}",
        "verb": VERBS[verb],
        "verb_class": verb,
        "noun": NOUNS[noun],
        "noun_class": noun,
        "all_nouns": [NOUNS[noun]],
        "all_noun_classes": [noun],
        **changes,
    }


def write_epic(folder: Path, rows: list[dict[str, Any]], name: str = "EPIC_100_validation.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    videos = sorted({str(row["video_id"]) for row in rows})
    info = "".join(f"{video},100.0,50.0,1920x1080\n" for video in videos)
    (folder / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\n" + info)
    with (folder / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def kitchen(videos: list[str], actions: int = 12) -> list[dict[str, Any]]:
    """Actions of two seconds one after the other, neighbours never the same, six kinds in every video."""
    return [
        epic_row(video, i, (i * 5 + v) % len(VERBS), (i * 7 + i // 8) % len(NOUNS), 2.0 * i, 2.0 * i + 1.9)
        for v, video in enumerate(videos)
        for i in range(actions)
    ]


def goal_rows(rows: list[dict[str, Any]], goal: str = "make tea") -> list[dict[str, Any]]:
    """One goal for every video, over all its actions."""
    goals: dict[str, dict[str, Any]] = {}
    for row in rows:
        video = row["video_id"]
        entry = goals.setdefault(video, {"video_id": video, "task_goal": goal, "start_frame": 0, "stop_frame": 0})
        entry["stop_frame"] = max(entry["stop_frame"], row["start_frame"])
    return list(goals.values())


def write_goal_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    if file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def task_row(video: str, goal: str, steps: list[tuple[str, int, int]]) -> dict[str, Any]:
    """A line of an Ego4D-style file."""
    progress = [{"narration_text": text, "start_frame": start, "stop_frame": stop} for text, start, stop in steps]
    return {"video_uid": video, "task_goal": goal, "task_progress_metadata": progress}


def write_tasks(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
