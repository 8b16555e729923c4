"""Rows that are right, to be made wrong in one place."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def question(i: int, source: str = "EpicKitchens", video_id: str = "P01_13", **changes: Any) -> Row:
    """The row of EgoPlan-Bench's own README as a question of L1, its media and moment numbered by `i`."""
    row: Row = {
        "sample_id": i,
        "video_source": source,
        "video_id": video_id,
        "video_basename": f"{video_id}_{i}.mp4",
        "current_observation_basename": f"{video_id}_{i}.png",
        "current_observation_frame": 760 + i,
        "task_goal": "store cereal",
        "question": "what action should I take next in order to store cereal?",
        "choice_a": "put cereal box into cupboard",
        "choice_b": "take cereal bag",
        "choice_c": "open cupboard",
        "choice_d": "put cereal bag into cereal box",
        "golden_choice_idx": "A",
        "answer": "put cereal box into cupboard",
        "task_progress_metadata": [{"narration_text": "take cereal bag", "start_frame": 36, "stop_frame": 105}],
    }
    return row | changes


def training(i: int, **changes: Any) -> Row:
    row = question(i, **{"video_id": "P02_01"} | changes)
    choices = [row.pop(f"choice_{letter}") for letter in "abcd"]
    del row["golden_choice_idx"]
    return {**row, "negative_answers": [choice for choice in choices if choice != row["answer"]]} | changes


def good_rows() -> dict[str, list[Row]]:
    """Two training rows and a question a level that share nothing."""
    return {
        "training_6k.jsonl": [training(0), training(1)],
        "validation_L1.jsonl": [question(0)],
        "validation_L2.jsonl": [question(0, "Ego4D", "a-1")],
        "validation_L3.jsonl": [question(0, "Ego4D", "b-1", domain="Work")],
    }
