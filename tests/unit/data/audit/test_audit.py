"""`audit_root`: every planted fault is found, named and counted once; what is right is not called wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from benchmark_rows import good_rows, question, training
from scipy import stats

from sbr.data.audit.root import FILES, audit_root
from sbr.data.audit.split import balance_p

REFERENCE = Path(__file__).resolve().parents[5] / "shared" / "reference"


def test_a_good_root_has_nothing_wrong(write_root):
    audit = audit_root(write_root(good_rows()))
    assert audit.ok and not audit.leaks and not audit.miscounts
    assert [(split.split, split.rows) for split in audit.splits] == [("train", 2), ("L1", 1), ("L2", 1), ("L3", 1)]
    assert len(audit.named) == 10 and sum(medium.is_video for medium in audit.named) == 5


def test_missing_empty_and_folder_are_told_apart_and_counted_by_row(write_root):
    rows = good_rows()
    rows["training_6k.jsonl"].append(training(9, video_basename="P02_01_0.mp4"))  # the clip of row 1 again
    root = write_root(rows)
    (root / "videos/EpicKitchens/P02_01_0.mp4").unlink()
    (root / "images/EpicKitchens/P02_01_1.png").write_bytes(b"")
    (root / "images/EpicKitchens/P01_13_0.png").unlink()
    (root / "images/EpicKitchens/P01_13_0.png").mkdir()
    audit = audit_root(root)
    found = [(medium.path.name, medium.reason, medium.file.name, medium.line) for medium in audit.missing]
    assert found == [
        ("P02_01_0.mp4", "missing", "training_6k.jsonl", 1),
        ("P02_01_1.png", "empty", "training_6k.jsonl", 2),
        ("P02_01_0.mp4", "missing", "training_6k.jsonl", 3),
        ("P01_13_0.png", "not a file", "validation_L1.jsonl", 1),
    ]
    assert not audit.ok
    # 6 rows name 12 media: one twice, three of the eleven are unusable.
    assert len(audit.named) == 8


def test_a_medium_that_two_rows_name_is_listed_once_with_both(write_root):
    rows = good_rows()
    rows["training_6k.jsonl"].append(training(9, video_basename="P02_01_0.mp4"))
    audit = audit_root(write_root(rows))
    medium = next(medium for medium in audit.named if medium.path.name == "P02_01_0.mp4")
    assert [place.line for place in medium.places] == [1, 3]


def test_a_row_without_progress_has_no_video_to_look_for(write_root):
    rows = good_rows()
    rows["validation_L1.jsonl"].append(question(5, task_progress_metadata=[], video_basename="nowhere.mp4"))
    root = write_root(rows)
    (root / "videos/EpicKitchens/nowhere.mp4").unlink()
    audit = audit_root(root)
    assert audit.ok
    assert {split.split: split.without_video for split in audit.splits} == {"train": 0, "L1": 1, "L2": 0, "L3": 0}


def test_repeated_options_are_noted_and_kept(write_root):
    rows = good_rows()
    rows["validation_L1.jsonl"] += [
        question(1, choice_c="Take  cereal bag"),  # two wrong ones
        question(2, choice_d="PUT cereal box into cupboard"),  # a wrong one that reads as the right one
        question(3),
    ]
    negatives = ["take bag", "open cupboard", "take bag", "close cupboard", "Put cereal box into cupboard"]
    rows["training_6k.jsonl"].append(training(2, negative_answers=negatives))
    audit = audit_root(write_root(rows))
    assert audit.ok
    counted = {split.split: (split.rows, split.repeated_options, split.repeated_gold) for split in audit.splits}
    assert counted == {"train": (3, 1, 1), "L1": (4, 2, 1), "L2": (1, 0, 0), "L3": (1, 0, 0)}
    assert [(note.field, note.line) for split in audit.splits for note in split.notes] == [
        ("negative_answers", 3),
        ("choices", 2),
        ("choices", 3),
    ]


def test_a_gold_answer_that_is_no_option_is_a_problem(write_root):
    rows = good_rows()
    rows["validation_L2.jsonl"].append(question(1, "Ego4D", "a-1", answer="fly"))
    rows["validation_L2.jsonl"].append(question(2, "Ego4D", "a-1", golden_choice_idx="E"))
    audit = audit_root(write_root(rows))
    assert [(problem.field, problem.line) for problem in audit.problems] == [("answer", 2), ("golden_choice_idx", 3)]
    split = audit.splits[2]
    assert (split.rows, split.bad_rows) == (1, 2) and not audit.ok


def test_duplicate_ids_and_questions(write_root):
    rows = good_rows()
    again = {**rows["validation_L1.jsonl"][0], "sample_id": 77, "choice_b": "wash plate"}  # other wrong options
    rows["validation_L1.jsonl"] += [question(0, current_observation_frame=5), again]
    audit = audit_root(write_root(rows))
    split = audit.splits[1]
    assert (split.rows, split.bad_rows, split.duplicate_ids, split.repeated_questions) == (2, 1, 1, 1)
    assert [(problem.field, problem.line, problem.found) for problem in split.problems] == [
        ("sample_id", 2, "'0', as on line 1")
    ]
    assert [(note.field, note.line) for note in split.notes] == [("question", 3)]


@pytest.mark.parametrize("counts", [(25, 25, 25, 25), (40, 20, 20, 20), (700, 560, 601, 571), (9000, 10, 10, 10)])
def test_balance_is_the_chi_square_test(counts):
    assert balance_p(counts) == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-9)


def test_balance_of_few_rows_is_not_judged(write_root):
    assert balance_p((19, 0, 0, 0)) is None
    rows = good_rows()
    rows["validation_L1.jsonl"] = [question(i) for i in range(20)]  # all A
    audit = audit_root(write_root(rows))
    assert audit.splits[1].gold_letters == (("A", 20),)
    assert audit.splits[1].gold_p == pytest.approx(stats.chisquare([20, 0, 0, 0]).pvalue)
    assert audit.splits[2].gold_p is None


def test_counts_are_compared_only_when_asked(write_root):
    root = write_root(good_rows())
    assert audit_root(root).ok
    audit = audit_root(root, expect_paper=True)
    assert not audit.ok
    # Table 1 and Table 2 of arXiv 2503.24376.
    assert [(wrong.file.name, wrong.what, wrong.expected, wrong.found) for wrong in audit.miscounts] == [
        ("training_6k.jsonl", "rows", 6000, 2),
        ("validation_L1.jsonl", "rows", 2432, 1),
        ("validation_L1.jsonl", "rows of domain Daily life", 2432, 1),
        ("validation_L2.jsonl", "rows", 923, 1),
        ("validation_L2.jsonl", "rows of domain Daily life", 923, 1),
        ("validation_L3.jsonl", "rows", 1321, 1),
        ("validation_L3.jsonl", "rows of domain Work", 404, 1),
        ("validation_L3.jsonl", "rows of domain Daily life", 439, 0),
        ("validation_L3.jsonl", "rows of domain Hobbies", 295, 0),
        ("validation_L3.jsonl", "rows of domain Recreation", 183, 0),
    ]


def test_the_papers_own_counts_pass(write_root):
    domains = {"Daily life": 439, "Hobbies": 295, "Recreation": 183, "Work": 404}
    names = [name for name, count in domains.items() for _ in range(count)]
    shared = {"task_progress_metadata": [], "current_observation_basename": "one.png", "video_basename": "one.mp4"}
    rows = {
        "training_6k.jsonl": [training(i, **shared) for i in range(6000)],
        "validation_L1.jsonl": [question(i, **shared) for i in range(2432)],
        "validation_L2.jsonl": [question(i, "Ego4D", "a", **shared) for i in range(923)],
        "validation_L3.jsonl": [question(i, "Ego4D", "b", domain=name, **shared) for i, name in enumerate(names)],
    }
    audit = audit_root(write_root(rows), expect_paper=True)
    assert audit.ok and audit.miscounts == ()


def test_an_absent_file_and_one_of_another_name(write_root):
    rows = good_rows()
    rows["training_more.jsonl"] = [training(0, video_id="P03_01")]
    rows["notes.jsonl"] = [training(0)]
    del rows["validation_L2.jsonl"]
    audit = audit_root(write_root(rows))
    assert audit.absent == ("validation_L2.jsonl",) and audit.not_checked == ("notes.jsonl",) and not audit.ok
    more = audit.splits[-1]
    assert (more.split, more.rows, more.official_rows) == ("training_more.jsonl", 1, None)


def test_the_papers_row_counts_are_those_of_the_reference():
    file = REFERENCE / "paper_tables.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not here")
    table = json.loads(file.read_text())["table1_samples"]
    counts = {known.split: known.official_rows for known in FILES}
    assert (counts["train"], counts["L1"], counts["L2"], counts["L3"]) == tuple(
        table[name] for name in ("train_used_by_paper", "L1", "L2", "L3")
    )


def test_the_row_of_egoplans_readme(write_root):
    """Its only missing fields are those that name the cut media."""
    file = REFERENCE / "annotations" / "egoplan_readme_example.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not here")
    (row,) = json.loads(file.read_text())
    rows = good_rows()
    rows["validation_L1.jsonl"] = [row]
    root = write_root({name: lines for name, lines in rows.items() if name != "validation_L1.jsonl"})
    (root / "annotations/validation_L1.jsonl").write_text(json.dumps(row) + "\n")
    audit = audit_root(root)
    assert [problem.field for problem in audit.problems] == ["video_basename", "current_observation_basename"]
    row |= {"video_basename": "P02_01_0.mp4", "current_observation_basename": "P02_01_0.png"}
    (root / "annotations/validation_L1.jsonl").write_text(json.dumps(row) + "\n")
    assert audit_root(root).ok


def test_real_instances_of_ego4d_as_training_rows(write_root):
    """Answer: the last action of an instance; negatives: all others, unfiltered.  Counted here once more."""
    file = REFERENCE / "annotations" / "ego4d_cooking_instances.jsonl.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not here")
    rows, bad, repeated, gold = [], 0, 0, 0
    with gzip.open(file, "rt") as stream:
        instances = [json.loads(line) for line in stream]
    for i, instance in enumerate(instances):
        steps, last = instance["task_progress_metadata"][:-1], (instance["task_progress_metadata"] or [None])[-1]
        if last is None:  # a few instances have no steps
            continue
        negatives, answer = [step["narration_text"] for step in steps], last["narration_text"]
        if len(negatives) < 3 or not all(text.strip() for text in [answer, *negatives]):
            continue
        changes = {"answer": answer, "negative_answers": negatives, "task_progress_metadata": steps}
        rows.append(training(i, video_source="Ego4D", video_id=instance["video_uid"], **changes))
        plain = [" ".join(text.lower().split()) for text in negatives]
        right = " ".join(answer.lower().split())
        if len(set(plain) - {right}) < 3:
            bad += 1
        elif right in plain or len(set(plain)) < len(plain):
            repeated += 1
            gold += right in plain
    assert len(rows) > 500 and repeated > 10
    root = write_root(good_rows())
    (root / "annotations/training_6k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    split = audit_root(root).splits[0]
    print(f"{len(instances)} instances, {len(rows)} rows: {bad} too few, {repeated} repeat, {gold} the answer")
    assert (split.rows, split.bad_rows) == (len(rows) - bad, bad)
    assert (split.repeated_options, split.repeated_gold) == (repeated, gold)
    assert len(split.missing) == 2 * split.rows  # media of bad rows are not looked for
