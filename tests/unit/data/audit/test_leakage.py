"""What validation shares with training: L1 may share videos and kitchens, L2 and L3 nothing, no level a question."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from benchmark_rows import good_rows, question, training

from sbr.data.audit.leakage import Content
from sbr.data.audit.root import audit_root

EPIC = Path(__file__).resolve().parents[5] / "shared" / "reference" / "annotations" / "EPIC_100_validation.csv"


def leaks(root):
    return [
        (pair.level, pair.training_file.name, pair.videos, len(pair.media), pair.kitchens, pair.questions)
        for pair in audit_root(root).leaks
    ]


def test_l1_may_share_videos_and_kitchens(write_root):
    rows = good_rows()
    rows["validation_L1.jsonl"] = [question(4, video_id="P02_01"), question(5, video_id="P02_09"), question(6)]
    audit = audit_root(write_root(rows))
    assert audit.ok
    pair = next(pair for pair in audit.shared if pair.level == "L1")
    assert (pair.videos, pair.rows, pair.kitchens, pair.kitchens_of_level) == (("EpicKitchens/P02_01",), 1, ("P02",), 2)
    assert pair.allowed and not pair.is_leak


@pytest.mark.parametrize(("level", "more"), [("L2", {}), ("L3", {"domain": "Work"})])
def test_l2_and_l3_may_share_no_video(write_root, level, more):
    rows = good_rows()
    rows["training_6k.jsonl"].append(training(7, video_source="Ego4D", video_id="c-1"))
    rows[f"validation_{level}.jsonl"] += [question(8, "Ego4D", "c-1", **more), question(9, "Ego4D", "c-1", **more)]
    root = write_root(rows)
    assert leaks(root) == [(level, "training_6k.jsonl", ("Ego4D/c-1",), 0, (), ())]
    assert not audit_root(root).ok


def test_the_same_name_from_another_source_is_another_video(write_root):
    rows = good_rows()
    rows["training_6k.jsonl"].append(training(7, video_id="c-1"))
    rows["validation_L2.jsonl"].append(question(8, "Ego4D", "c-1"))
    assert leaks(write_root(rows)) == []


def test_an_unseen_level_in_a_seen_kitchen_is_a_leak(write_root):
    rows = good_rows()
    rows["validation_L2.jsonl"].append(question(8, video_id="P02_77"))
    assert leaks(write_root(rows)) == [("L2", "training_6k.jsonl", (), 0, ("P02",), ())]


def test_a_clip_under_another_video_id_and_in_a_chat_is_a_leak(write_root):
    rows = good_rows()
    rows["training_6k.jsonl"].append(training(7, video_source="Ego4D", video_id="c-1", video_basename="same.mp4"))
    rows["validation_L2.jsonl"].append(question(8, "Ego4D", "d-1", video_basename="same.mp4"))
    parts = [{"type": "video", "video": "videos/Ego4D/b-1_0.mp4"}, {"type": "text", "text": "what next?"}]
    root = write_root(rows)
    chat = root / "annotations" / "training_with_cot_6k.jsonl"
    chat.write_text(json.dumps({"prompt": [{"role": "user", "content": parts}], "response": "A"}) + "\n")
    assert leaks(root) == [
        ("L2", "training_6k.jsonl", (), 1, (), ()),
        ("L3", "training_with_cot_6k.jsonl", (), 1, (), ()),
    ]


def test_a_training_question_in_l1_is_a_leak(write_root):
    rows = good_rows()
    rows["validation_L1.jsonl"] += [
        question(3, video_id="P02_01", current_observation_frame=761, answer="open cupboard", golden_choice_idx="C"),
        question(4, video_id="P02_01", current_observation_frame=761, task_goal="Store  cereal"),
    ]
    assert leaks(write_root(rows)) == [("L1", "training_6k.jsonl", ("EpicKitchens/P02_01",), 0, ("P02",), ((3, 2),))]


def test_kitchens_of_the_real_names():
    """EPIC-KITCHENS' own table says whose video it is."""
    if not EPIC.exists():
        pytest.skip(f"{EPIC.name} is not here")
    with EPIC.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    content = Content(EPIC, None)
    for row in rows:
        content.videos["EpicKitchens", row["video_id"]] += 1
    assert content.kitchens() == {row["participant_id"] for row in rows}
