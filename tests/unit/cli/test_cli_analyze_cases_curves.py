"""`sbr analyze cases` and `sbr analyze curves` on finished folders, as a user calls them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import answer, answered, evaluation, sample_of, training

from sbr.analysis.cases import read_cases
from sbr.cli.main import run
from sbr.types import ProgressStep, Sample

SAID = "<think> i see it . next is {}</think><answer>{}</answer>"
PROGRESS = (ProgressStep("open tap", 0, 7),)


def questions(count: int, level: str = "L1") -> list[Sample]:
    return [replace(sample_of(n, level, gold="B"), progress=PROGRESS) for n in range(count)]


def write_data(root: Path, samples: list[Sample]) -> None:
    (root / "annotations").mkdir(parents=True)
    for level in dict.fromkeys(sample.split for sample in samples):
        rows = [
            {
                "sample_id": sample.sample_id,
                "video_source": sample.video_source,
                "video_id": sample.video_id,
                "video_basename": f"{sample.video_id}.mp4",
                "current_observation_basename": f"{sample.video_id}.png",
                "current_observation_frame": 7,
                "task_goal": "make tea",
                "question": sample.question,
                "answer": sample.gold_text,
                "task_progress_metadata": [{"narration_text": "open tap", "start_frame": 0, "stop_frame": 7}],
                **{f"choice_{letter}": text for letter, text in zip("abcd", sample.options, strict=True)},
                "golden_choice_idx": sample.gold,
            }
            for sample in samples
            if sample.split == level
        ]
        file = root / "annotations" / f"validation_{level}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """base 0011 and grpo 0101 on L1, both right on L2; question 0 is answered with what was done."""
    samples = [*questions(4), *questions(1, "L2")]
    write_data(tmp_path / "data", samples)
    for media in ("videos", "images"):
        (tmp_path / "data" / media).mkdir()
    for name, letters in (("base", "ACBBB"), ("grpo", "ABCBB")):
        records = [
            answered(sample, SAID.format(sample.options["ABCD".index(letter)], letter))
            for sample, letter in zip(samples, letters, strict=True)
        ]
        evaluation(tmp_path / name, records, root=tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


def test_tables_cases_and_the_file(folders, capsys):
    assert run(["analyze", "cases", "base", "grpo", "--out", "cases.jsonl"]) == 0
    text = said(capsys)
    for words in (
        "L1 right of 4 2 2",
        "L1 fixed 0 1",
        "L1 broken 0 1",
        "L1 done before 1 1",
        "L1 base -> grpo 1 1 1 1 1.000",
        "L2 base -> grpo 1 0 0 0 1.000",
        "00 1 0 1",
        "L1 1 01 interest 3.00 Daily life What next? before: open tap A. open tap B. close tap <- right",
        "grpo: right B [fixed] <think> i see it . next is close tap</think><answer>B</answer>",
        "3 of 3 questions shown; 2 others have no tag or do not fit the filters; 3 written to cases.jsonl",
    ):
        assert words in text
    assert [(case.sample_id, case.flow) for case in read_cases(folders / "cases.jsonl")] == [
        ("1", "01"),
        ("2", "10"),
        ("0", "00"),
    ]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--flow", "10"], ["2"]),
        (["--tag", "done before"], ["0"]),
        (["--level", "L2"], []),
        (["--level", "L1", "--flow", "01", "--limit", "0"], ["1"]),
    ],
)
def test_filters(folders, words, left, capsys):
    assert run(["analyze", "cases", "base", "grpo", "--out", "cases.jsonl", *words]) == 0
    assert [case.sample_id for case in read_cases(folders / "cases.jsonl")] == left
    assert ("interest" in said(capsys)) == (bool(left) and "--limit" not in words)


def test_without_the_questions(folders, capsys):
    shutil.rmtree(folders / "data")
    assert run(["analyze", "cases", "base", "grpo"]) == 2
    assert "--records-only does without the questions" in said(capsys)
    assert run(["analyze", "cases", "base", "grpo", "--records-only"]) == 0
    text = said(capsys)
    assert "could not be given: done before" in text
    assert "before: open tap" not in text
    files = ["base/records.jsonl", "grpo/records.jsonl"]
    assert run(["analyze", "cases", *files]) == 2
    assert "give one of the evaluations as its folder" in said(capsys)
    assert run(["analyze", "cases", *files, "--names", "a", "b", "--records-only"]) == 0
    assert "L1 a -> b" in said(capsys)


def test_data_that_was_moved(folders, capsys):
    (folders / "data").rename(folders / "elsewhere")
    assert run(["analyze", "cases", "base", "grpo", "--data", "elsewhere"]) == 0
    assert "L1 done before 1 1" in said(capsys)


def test_long_and_hostile_responses_stay_text(folders, capsys):
    shutil.rmtree(folders / "grpo")
    samples = [*questions(4), *questions(1, "L2")]
    text = f"[bold]\x1b[31m\u202e{'word ' * 200}<answer>A</answer>"
    evaluation(folders / "grpo", [answered(sample, text) for sample in samples], root=folders / "data")
    assert run(["analyze", "cases", "base", "grpo", "--names", "[red]a", "b"]) == 0
    printed = capsys.readouterr().out
    assert "[bold][31mword" in printed.replace("\n    ", "")
    assert "more characters" in printed
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "[red]a" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cases"], "needs two or more evaluations"),
        (["cases", "base"], "needs two or more evaluations"),
        (["cases", "base", "grpo", "--names", "x"], "give 2 different name(s)"),
        (["cases", "base", "grpo", "--names", "x", "x"], "give 2 different name(s)"),
        (["cases", "base", "grpo", "--flow", "012"], "expected 2 digits"),
        (["cases", "base", "grpo", "--flow", "0x"], "expected 2 digits"),
        (["cases", "base", "grpo", "--tag", "lucky"], "expected one of: fixed, broken"),
        (["cases", "base", "grpo", "--tag", "done before", "--records-only"], "leave --records-only out"),
        (["cases", "base", "grpo", "--level", "L9"], "the evaluations have L1, L2"),
        (["cases", "base", "grpo", "--limit", "-1"], "--limit is -1"),
        (["cases", "base", "grpo", "--out", "base"], "base is a folder"),
        (["cases", "base", "grpo", "--out", "base/records.jsonl"], "holds something else"),
        (["cases", "base", "nowhere"], "nowhere"),
        (["cases", "base", "grpo", "--data", "nowhere"], "nowhere"),
        (["curves"], "needs at least one training run"),
        (["curves", "base"], "has no section train"),
        (["curves", "nowhere"], "there is no recipe.json"),
        (["curves", "run", "--window", "0"], "--window is 0"),
        (["curves", "run", "--out", "curves.pdf"], "ends in .png"),
        (["curves", "run", "run"], "give 2 different --names"),
        (["curves", "run", "--out", "base/table.png/x.png"], "base/table.png"),
    ],
)
def test_wrong_use(folders, words, message, capsys):
    training(folders / "run")
    (folders / "base" / "table.png").write_text("mine")
    before = {path: path.read_bytes() for path in folders.rglob("*") if path.is_file()}
    assert run(["analyze", *words]) == 2
    assert message in said(capsys)
    assert {path: path.read_bytes() for path in folders.rglob("*") if path.is_file()} == before


def test_other_questions_are_refused(folders, capsys):
    evaluation(folders / "other", [answer(sample, "B") for sample in questions(3)], root=folders / "data")
    assert run(["analyze", "cases", "base", "other"]) == 2
    assert "the question sets differ" in said(capsys)


def test_curves_of_seeds_a_cold_start_and_a_running_run(folders, capsys):
    for seed in (0, 1):
        training(folders / f"grpo_{seed}", steps=12, train={"seed": seed})
    both = training(folders / "both", steps=3, finished=False, algo={"beta": 0.0})
    training(both / "cold_start", "sft", steps=5)
    with (both / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "rew')
    assert run(["analyze", "curves", "grpo_0", "grpo_1", "both", "--out", "curves.png"]) == 0
    text = said(capsys)
    for words in (
        "grpo_0 GRPO 12 yes 0 no",
        "both, cold start SFT 5 yes 0 no",
        "both GRPO 3 no 0 yes",
        "Reward grpo_0 12 0.435 0.495",
        "Loss (nats) both, cold start 5 1.5 0.45",
        "grpo (2 seeds): grpo_0, grpo_1",
        "Curves in curves.png",
    ):
        assert words in text
    first = (folders / "curves.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert run(["analyze", "curves", "grpo_0", "--out", "curves.png", "--window", "1"]) == 0
    assert (folders / "curves.png").read_bytes() != first
    assert "seeds" not in said(capsys).replace("Seeds", "")


def test_curves_without_a_picture_write_nothing(folders):
    before = set(folders.rglob("*"))
    training(folders / "run")
    there = set(folders.rglob("*"))
    assert run(["analyze", "curves", "run"]) == 0
    assert set(folders.rglob("*")) == there > before


def test_a_damaged_line_is_named(folders, capsys):
    run_folder = training(folders / "run")
    file = run_folder / "metrics.jsonl"
    file.write_text("{]\n" + file.read_text())
    assert run(["analyze", "curves", "run"]) == 2
    assert "run/metrics.jsonl:1: line is not JSON" in said(capsys)


def test_neither_imports_torch(folders):
    training(folders / "run")
    code = (
        "import sys\nfrom sbr.cli.main import run\n"
        "assert run(['analyze', 'cases', 'base', 'grpo']) == 0\n"
        "assert run(['analyze', 'curves', 'run', '--out', 'c.png']) == 0\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
