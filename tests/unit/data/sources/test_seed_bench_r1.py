"""Annotation files of a data root -> Samples: values, limits, and what stops a run before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sbr.data.sources.seed_bench_r1 import LEVELS, load_level, load_training_samples
from sbr.errors import AnnotationError, DataError
from sbr.types import ProgressStep, Sample

STEPS = (ProgressStep("take cereal bag", 36, 120), ProgressStep("open cupboard", 689, 760))


def put(root: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    file = root / "annotations" / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def train(root: Path, seed: int = 0, limit: int | None = None) -> list[Sample]:
    return load_training_samples(root, "training_6k.jsonl", seed, limit)


def test_a_row_of_level_1_becomes_a_sample(data_root, validation_row):
    put(data_root, "validation_L1.jsonl", [validation_row(115)])
    root = data_root.resolve()
    assert load_level(data_root, "L1", None) == [
        Sample(
            sample_id="115",
            split="L1",
            domain="Daily life",
            scenario=None,
            video_source="EpicKitchens",
            video_id="P01_13",
            video=root / "videos" / "EpicKitchens" / "P01_13_36_760.mp4",
            image=root / "images" / "EpicKitchens" / "P01_13_760.png",
            task_goal="store cereal",
            question="what action should I take next in order to store cereal?",
            options=(
                "put cereal box into cupboard",
                "take cereal bag",
                "open cupboard",
                "put cereal bag into cereal box",
            ),
            gold="C",
            progress=STEPS,
        )
    ]


def test_each_level_reads_its_own_file(data_root, validation_row):
    for level in ("L1", "L2", "L3"):
        put(data_root, f"validation_{level}.jsonl", [validation_row(f"of {level}", domain="Work", scenario="Baker")])
    for level in ("L1", "L2", "L3"):
        (sample,) = load_level(data_root, level, None)
        assert (sample.sample_id, sample.split, sample.domain, sample.scenario) == (
            f"of {level}",
            level,
            "Work",
            "Baker",
        )


def test_the_official_counts_are_those_of_the_paper():
    # arXiv 2503.24376: L1 2,432, L2 923, L3 1,321 = 439 + 295 + 183 + 404.
    assert {name: level.official_rows for name, level in LEVELS.items()} == {"L1": 2432, "L2": 923, "L3": 1321}


def test_every_row_of_level_3_must_name_a_domain_also_beyond_the_limit(data_root, validation_row):
    rows = [validation_row(1, domain="Hobbies"), validation_row(2), validation_row(3, domain=None)]
    file = put(data_root, "validation_L3.jsonl", rows)
    with pytest.raises(AnnotationError) as caught:
        load_level(data_root, "L3", 1)
    wanted = "domain is missing, expected one such as Daily life, Hobbies, Recreation, Work"
    assert [str(problem) for problem in caught.value.problems] == [f"{file}:{line}: {wanted}" for line in (2, 3)]


def test_a_training_sample_has_the_drawn_options(data_root, training_row):
    negatives = ["open drawer", "grab knife", "close drawer", "slice onion", "wash hands"]
    put(data_root, "training_6k.jsonl", [training_row(39, negative_answers=negatives)])
    (sample,) = train(data_root)
    # The same draw as in test_options.py, from sha256sum.
    assert sample.options == ("grab knife", "wash hands", "grab onion", "open drawer")
    assert (sample.gold, sample.gold_text) == ("C", "grab onion")
    assert (sample.split, sample.domain, sample.scenario, sample.progress) == ("train", "Daily life", None, STEPS)
    assert [s.options for s in train(data_root, seed=1)] == [
        ("slice onion", "grab onion", "close drawer", "wash hands")
    ]


def test_neither_the_order_of_rows_nor_a_limit_changes_a_question(data_root, training_row):
    rows = [training_row(i) for i in range(12)]
    put(data_root, "training_6k.jsonl", rows)
    samples = train(data_root)
    assert [sample.sample_id for sample in samples] == [str(i) for i in range(12)]
    assert len({sample.options for sample in samples}) > 6
    assert train(data_root, limit=5) == samples[:5]
    assert train(data_root, limit=100) == samples
    put(data_root, "training_6k.jsonl", rows[::-1])
    assert train(data_root) == samples[::-1]


def test_a_limit_keeps_the_first_rows_of_a_level(data_root, validation_row):
    put(data_root, "validation_L2.jsonl", [validation_row(i) for i in (5, 3, 9)])
    assert [sample.sample_id for sample in load_level(data_root, "L2", 2)] == ["5", "3"]


def test_bad_rows_beyond_the_limit_are_still_refused(data_root, training_row, validation_row):
    put(data_root, "training_6k.jsonl", [training_row(1), training_row(2, question="")])
    put(data_root, "validation_L1.jsonl", [validation_row(1), validation_row(2, question="")])
    for load in (lambda: train(data_root, limit=1), lambda: load_level(data_root, "L1", 1)):
        with pytest.raises(AnnotationError, match=r":2: question is empty"):
            load()


@pytest.mark.parametrize("name", ["clip.mp4", "", None])
def test_a_row_without_progress_has_an_image_and_no_video(data_root, training_row, validation_row, name):
    changes = {"task_progress_metadata": [], "video_basename": name}
    put(data_root, "training_6k.jsonl", [training_row(1, **changes)])
    put(data_root, "validation_L1.jsonl", [validation_row(1, **changes)])
    (data_root / "videos").rmdir()  # not needed then
    for sample in (*train(data_root), *load_level(data_root, "L1", None)):
        assert (sample.video, sample.progress) == (None, ())
        assert sample.image == data_root.resolve() / "images" / "EpicKitchens" / "P01_13_760.png"


@pytest.mark.parametrize("folder", ["videos", "images"])
def test_a_missing_media_folder_stops_before_anything_starts(data_root, training_row, validation_row, folder):
    put(data_root, "training_6k.jsonl", [training_row(1)])
    put(data_root, "validation_L1.jsonl", [validation_row(1)])
    (data_root / folder).rmdir()
    for load in (lambda: train(data_root), lambda: load_level(data_root, "L1", None)):
        with pytest.raises(DataError, match=f"has no folder {folder}/"):
            load()


def test_links_out_of_the_root_are_all_named_with_their_lines(data_root, validation_row, tmp_path):
    (tmp_path / "secret.png").touch()
    folder = data_root / "images" / "EpicKitchens"
    folder.mkdir()
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (data_root / "videos" / "Ego4D").symlink_to(tmp_path)
    rows = [
        validation_row(1),
        validation_row(2, current_observation_basename="out.png"),
        validation_row(3, video_source="Ego4D"),
    ]
    file = put(data_root, "validation_L1.jsonl", rows)
    with pytest.raises(AnnotationError) as caught:
        load_level(data_root, "L1", None)
    found = [(problem.file, problem.line, problem.field) for problem in caught.value.problems]
    assert found == [(file, 2, "current_observation_basename"), (file, 3, "video_basename")]
    assert [sample.sample_id for sample in load_level(data_root, "L1", 1)] == ["1"]


def test_a_training_row_may_not_lead_out_of_the_root_either(data_root, training_row, tmp_path):
    (data_root / "videos" / "Ego4D").symlink_to(tmp_path)
    file = put(data_root, "training_6k.jsonl", [training_row(1), training_row(2, video_source="Ego4D")])
    with pytest.raises(AnnotationError) as caught:
        train(data_root)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (file, 2, "video_basename")


def test_missing_files_and_levels_are_named(data_root):
    put(data_root, "validation_L2.jsonl", [])
    with pytest.raises(DataError, match=r"validation_L1\.jsonl does not exist; .* holds validation_L2\.jsonl"):
        load_level(data_root, "L1", None)
    with pytest.raises(DataError, match=r"training_6k\.jsonl does not exist"):
        train(data_root)
    with pytest.raises(DataError, match="no level 'L4'; the levels are L1, L2, L3"):
        load_level(data_root, "L4", None)
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_level(data_root / "nowhere", "L1", None)
