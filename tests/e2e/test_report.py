"""`sbr report` on runs of the miniature: the file, what is in it, its size, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from report_runs import answer, answered, evaluation, training

from sbr.cli.main import run
from sbr.config.inputs import FramesConfig
from sbr.data.sources.seed_bench_r1 import load_level
from sbr.eval.controls import blind
from sbr.files import replace_file
from sbr.frames.load import load_frames
from sbr.mini.build import build
from sbr.report.page.assembly import Page, PageOptions, make_page
from sbr.report.page.data import PageCase, PageData
from sbr.report.page.inputs import find_runs
from sbr.report.page.render import START
from sbr.types import LETTERS, EvalRecord, Sample

LEVELS = ("L1", "L2", "L3")
LARGE = 10_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, train=4, val=4, seed=0, workers=1)
    return root


def questions(root: Path) -> list[Sample]:
    return [sample for level in LEVELS for sample in load_level(root, level, limit=None)]


def wrong(sample: Sample) -> str:
    return LETTERS[(LETTERS.index(sample.gold) + 1) % len(sample.options)]


def records(samples: Sequence[Sample], right: int) -> list[EvalRecord]:
    """Every level has its first `right` questions right."""
    return [answer(s, s.gold if place % 4 < right else wrong(s)) for place, s in enumerate(samples)]


@pytest.fixture(scope="module")
def demo(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, GRPO with its training, and GRPO blind."""
    folder, samples = tmp_path_factory.mktemp("runs"), questions(root)
    training(folder / "grpo_0")
    model = folder / "grpo_0" / "final"
    evaluation(folder / "eval_base", records(samples, 1), root)
    evaluation(folder / "eval_grpo_0", records(samples, 3), root, model=model)
    unseen = [answer(blind(s), s.gold if n % 4 == 0 else wrong(s), control="blind") for n, s in enumerate(samples)]
    evaluation(folder / "blind", unseen, root, model=model, control="blind")
    return folder


def made(folder: Path, **options: object) -> Page:
    words = {"title": "Test", "cases": 200, "most_bytes": LARGE, "frames": True} | options
    return make_page(find_runs([folder]), PageOptions(**words))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def page(demo: Path) -> Page:
    return made(demo)


def sprite(case: PageCase) -> np.ndarray:
    assert case.frames is not None
    content = base64.b64decode(case.frames.sprite.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_the_command_writes_one_page_and_says_what_is_in_it(demo, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run(["report", str(demo), "-o", str(out), "--title", "Two models"]) == 0
    text = out.read_text("utf-8")
    assert text.startswith(START)
    assert "<title>Two models" in text
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{out}: {out.stat().st_size / 1e6:.1f} MB, 12 of 12 questions, 0 with attention" in printed
    assert f"no attention: sbr analyze attention {demo / 'eval_base'} {demo / 'eval_grpo_0'}" in printed
    assert "no controls" not in printed
    assert run(["report", str(demo), "-o", str(out)]) == 0  # a page is replaced
    assert "<title>base, grpo_0" in out.read_text("utf-8")


def test_the_page_holds_what_was_asked_and_answered(page, root):
    data = page.data
    assert [(card.name, card.training) for card in data.runs] == [
        ("base", None),
        ("grpo_0", "GRPO, 4 steps, seed 0, 0.5 minutes"),
    ]
    assert data.levels == LEVELS
    assert [row.name for row in data.results] == ["base", "grpo_0"], "other questions than the paper's"
    assert data.results[1].cells[0] is not None
    assert data.results[1].cells[0].value == 0.75
    assert [(d.level, d.value) for d in data.differences] == [(level, 0.5) for level in LEVELS]
    assert [section.id for section in data.sections] == [
        *("flows", "curves", "consistency", "controls", "letters", "health"),
    ]
    assert data.cases_note.startswith("All 12 questions")
    assert sorted(case.id for case in data.cases) == sorted(f"{s.split}/{s.sample_id}" for s in questions(root))
    for case in data.cases:
        (sample,) = [s for s in questions(root) if f"{s.split}/{s.sample_id}" == case.id]
        assert (case.question, case.options, case.gold) == (sample.question, sample.options, sample.gold)
        assert (case.goal, case.video) == (sample.task_goal, sample.video_id)
        assert case.progress == tuple(step.narration_text for step in sample.progress)
        assert case.flow == "".join("1" if answer.correct else "0" for answer in case.answers)


def test_the_pictures_are_those_that_the_model_saw(page, root):
    for case in page.data.cases:
        (sample,) = [s for s in questions(root) if f"{s.split}/{s.sample_id}" == case.id]
        frames = load_frames(sample, FramesConfig(height=84, width=84))
        tiles = [*(() if frames.video_THWC is None else frames.video_THWC), frames.image_HWC]
        seen = np.concatenate(tiles, axis=1)
        assert case.frames is not None
        assert (case.frames.video, case.frames.image, case.frames.columns) == (len(tiles) - 1, True, len(tiles))
        error = np.mean((sprite(case).astype(float) - seen) ** 2)
        assert 10 * np.log10(255**2 / error) > 30
        assert len(case.frames.seconds) == len(tiles) - 1


def test_the_data_of_a_page_are_plain_json(page):
    text = json.dumps(asdict(page.data), allow_nan=False)
    assert TypeAdapter(PageData).validate_json(text) == page.data


def test_odd_text_comes_through(root, tmp_path):
    sample, *others = questions(root)[:4]
    odd = "<think>\x00\x1b[31m\u202e</script><!--" + "x" * 10_000 + "</think><answer>A</answer>"
    for name in ("a", "b"):
        answers = [answered(sample, odd, video_id=sample.video_id), *(answer(s, s.gold) for s in others)]
        evaluation(tmp_path / name, answers, root)
    page = made(tmp_path, title="a name that is no UTF-8: \udcff")
    assert odd in [answer.response for case in page.data.cases for answer in case.answers]
    assert "\x1b" not in page.content
    page.content.encode("utf-8")


def test_fewer_cases_where_they_do_not_fit(demo, page):
    bare = made(demo, cases=0)
    assert bare.data.cases == ()
    size, least = len(page.content.encode()), len(bare.content.encode())
    room = least + (size - least) // 2
    half = made(demo, most_bytes=room)
    assert len(half.content.encode()) <= room
    assert 1 <= len(half.data.cases) < 12
    assert half.data.cases == page.data.cases[: len(half.data.cases)]
    assert half.data.cases_note.startswith(f"{len(half.data.cases)} of 12 questions")
    assert "as many as fit" in half.data.cases_note
    assert "12 were asked for" in half.data.cases_note


def test_only_as_many_cases_as_asked(demo, page):
    few = made(demo, cases=5)
    assert few.data.cases == page.data.cases[:5]
    assert few.data.cases_note.startswith("5 of 12 questions: the most interesting ones")


def test_without_pictures_the_data_need_not_be_there(root, tmp_path, capsys):
    samples = questions(root)
    gone = evaluation(tmp_path / "runs" / "base", records(samples, 2), tmp_path / "gone")
    assert run(["report", str(gone), "-o", str(tmp_path / "a.html")]) == 2
    assert "gone" in capsys.readouterr().err
    page = made(tmp_path / "runs", frames=False)
    assert page.data.cases[0].frames is None
    assert page.data.cases[0].question.startswith("the prompt of")
    assert "were not there" in page.data.cases_note
    assert run(["report", str(gone), "-o", str(tmp_path / "a.html"), "--data", str(root)]) == 0


def test_several_answers_a_question(root, tmp_path):
    """Intervals decide, there is no exact test; a case shows the first answer."""
    samples = questions(root)
    for name, right in (("a", 0), ("b", 3)):
        answers = [
            answer(s, s.gold if place % 4 < right or k else wrong(s), sample_index=k)
            for place, s in enumerate(samples)
            for k in (0, 1)
        ]
        evaluation(tmp_path / name, answers, root, protocol="paper", samples=2)
    page = made(tmp_path, frames=False)
    assert [(d.value, d.p, d.p_holm) for d in page.data.differences] == [(0.375, None, None)] * 3
    assert "have no exact test; their intervals decide" in page.data.findings_note
    assert {case.flow for case in page.data.cases} == {"00", "01"}
    assert "2 times at temperature 1" in page.data.lead


def test_more_cases_call_a_watcher(demo):
    seen: list[tuple[int, int]] = []
    options = PageOptions("t", cases=4, most_bytes=LARGE)
    make_page(find_runs([demo]), options, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs at least one folder of a run"),
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "holds neither an evaluation nor a training run"),
        (["runs/grpo_0"], "there is no evaluation in runs/grpo_0"),
        (["runs", "--cases", "-1"], "--cases is -1"),
        (["runs", "--max-mb", "0"], "--max-mb is 0"),
        (["runs", "--max-mb", "nan"], "--max-mb is nan"),
        (["runs", "--max-mb", "0.01"], "MB without any case; --max-mb allows 0.01"),
        (["runs", "--names", "one"], "give 2 different name(s)"),
        (["runs", "other"], "the question sets differ"),
        (["unfinished"], "holds no summary.json"),
        (["runs", "-o", "notes.txt"], "notes.txt holds something else"),
        (["runs", "-o", "runs"], "runs is a folder"),
        (["runs", "--data", "empty"], "empty"),
    ],
)
def test_refusals(demo, root, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(demo)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    samples = questions(root)
    evaluation(tmp_path / "other", records(samples, 1)[:-1], root)
    (evaluation(tmp_path / "unfinished", records(samples, 1), root) / "summary.json").unlink()
    if "-o" not in words:
        words = [*words, "-o", "out.html"]
    assert run(["report", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.html").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_video_is_named(demo, root, tmp_path, capsys):
    copy = tmp_path / "data"
    for file in root.rglob("*"):
        if file.is_file():
            replace_file(copy / file.relative_to(root), b"no video" if file.suffix == ".mp4" else file.read_bytes())
    assert run(["report", str(demo), "-o", str(tmp_path / "out.html"), "--data", str(copy)]) == 2
    assert ".mp4" in capsys.readouterr().err


def test_wrong_words_cost_no_heavy_import(tmp_path):
    code = (
        "import sys\nfrom sbr.cli.main import run\n"
        f"assert run(['report', {str(tmp_path / 'gone')!r}]) == 2\n"
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules], file=sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
