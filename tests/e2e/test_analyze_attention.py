"""`sbr analyze attention` on finished evaluations: tables, kill -9, other settings, changed answers, nothing to see."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import forked
import numpy as np
import pytest
from PIL import Image

from sbr.analysis.attention_records import MAPS, RECORDS, attention_folder, read_attention, read_maps
from sbr.cli.main import run as sbr
from sbr.config.asking import EngineConfig, EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import read_resolved, write_resolved
from sbr.config.recipes import EvalRecipe
from sbr.eval.runner import evaluate

QUESTIONS = 16
OPTIONS = ("open tap", "close tap", "take cup", "put cup on table")
ANSWERS = ("<think>so open tap</think><answer>A</answer>", "<think>close</think><answer>B. close tap</answer>")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with an image and no video, so that answers come quickly."""
    root = tmp_path_factory.mktemp("data")
    (root / "annotations").mkdir()
    (root / "images" / "EpicKitchens").mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (84, 84, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / "EpicKitchens" / f"{number}.png")
    rows = [
        {
            "sample_id": number,
            "video_source": "EpicKitchens",
            "video_id": f"V{number}",
            "current_observation_basename": f"{number % 2}.png",
            "current_observation_frame": 8,
            "task_goal": "make tea",
            "question": f"What next, {number}?",
            "answer": OPTIONS[number % 4],
            "task_progress_metadata": [],
            "golden_choice_idx": "ABCD"[number % 4],
            **{f"choice_{letter}": option for letter, option in zip("abcd", OPTIONS, strict=True)},
        }
        for number in range(QUESTIONS)
    ]
    (root / "annotations" / "validation_L1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def evaluated(model: Path, data_root: Path, out: Path, **values: str) -> Path:
    """A finished evaluation whose answers are ours: those of a random model have no letter."""
    recipe = EvalRecipe(
        model=ModelConfig(path=str(model), dtype="float32"),
        data=DataConfig(root=data_root),
        output_dir=out,
        frames=FramesConfig(height=84, width=84),
        eval=EvalConfig(levels=("L1",), max_new_tokens=2, batch_size=8, **values),
    )
    evaluate(recipe)
    lines = [json.loads(line) for line in (out / "records.jsonl").read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        letter = "AB"[number % 2]
        line |= {"response": ANSWERS[number % 2], "extracted": letter, "correct": line["gold"] == letter}
        line |= {"truncated": False}
    (out / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return out


@pytest.fixture(scope="module")
def finished(tiny_model_dir: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tiny_model_dir, data_root, tmp_path_factory.mktemp("finished") / "eval")


@pytest.fixture(scope="module")
def looked(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Looked into without an interruption, all questions."""
    folder = tmp_path_factory.mktemp("looked") / "eval"
    shutil.copytree(finished, folder)
    assert sbr(["analyze", "attention", str(folder), "--all", "--randoms", "2"]) == 0
    return folder


def content(run: Path) -> dict[str, object]:
    """Records by question, and maps."""
    found: dict[str, object] = {}
    for record in read_attention(run):
        found[record.sample_id] = (record, *(array.tobytes() for array in read_maps(run, record)))
    return found


def lines(run: Path) -> int:
    file = attention_folder(run) / RECORDS
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_a_killed_analysis_continues_and_finds_the_same(finished, looked, tmp_path, capsys) -> None:
    run = tmp_path / "eval"
    shutil.copytree(finished, run)
    words = ["analyze", "attention", str(run), "--all", "--randoms", "2"]
    with forked.start("-m", "sbr", *words) as process:
        while process.poll() is None and lines(run) < 3:
            time.sleep(0.002)
        process.kill()
        process.wait()
    kept = (attention_folder(run) / RECORDS).read_bytes()
    assert 3 <= kept.count(b"\n") < QUESTIONS, process.output
    with (attention_folder(run) / RECORDS).open("ab") as stream:
        stream.write(kept[:100])  # killed while it wrote
    assert sbr(words) == 0
    assert (attention_folder(run) / RECORDS).read_bytes().startswith(kept)
    assert content(run) == content(looked)
    assert len(list((attention_folder(run) / MAPS).iterdir())) == QUESTIONS
    out = capsys.readouterr().out
    assert "Where the attention goes" in out and "What painting over does" in out


def test_what_is_there_is_kept_and_more_questions_come_to_it(finished, looked, tmp_path, capsys) -> None:
    run = tmp_path / "eval"
    shutil.copytree(finished, run)
    words = ["analyze", "attention", str(run), "--randoms", "2"]
    assert sbr([*words, "--per-level", "3"]) == 0
    drawn = [record.sample_id for record in read_attention(run)]
    cases = tmp_path / "cases.jsonl"
    picked = next(str(q) for q in range(QUESTIONS) if str(q) not in drawn)
    cases.write_text(json.dumps({"level": "L1", "sample_id": picked, "interest": 1}) + "\n")
    assert sbr([*words, "--cases", str(cases)]) == 0
    assert [record.sample_id for record in read_attention(run)] == [*drawn, picked]
    before = (attention_folder(run) / RECORDS).stat().st_mtime_ns
    assert sbr([*words, "--per-level", "3", "--phrase", "open tap", "--out", str(tmp_path / "t.md")]) == 0
    assert (attention_folder(run) / RECORDS).stat().st_mtime_ns == before
    assert 'While writing "open tap"' in (tmp_path / "t.md").read_text()
    assert sbr([*words, "--per-level", "1000"]) == 0
    assert content(run) == content(looked)
    assert f"{QUESTIONS} questions (L1 {QUESTIONS})" in " ".join(capsys.readouterr().out.split())


def test_records_hold_what_their_questions_ask_for(looked) -> None:
    for record in read_attention(looked):
        tokens_NV, general_V = read_maps(looked, record)
        assert (record.video_grid, record.image_grid, record.visual_tokens) == (None, (3, 3), 9)
        assert record.layers == (0, 1, 2) and record.map_layers == (1,)
        for n in range(len(record.tokens)):
            of_map = record.shares[1][n].image
            assert tokens_NV[n].sum() == pytest.approx(of_map, abs=2e-3)
            assert all(
                share.video == 0 and share.image + share.text + share.own == pytest.approx(1, abs=3e-5)
                for share in (of_layer[n] for of_layer in record.shares)
            )
        assert 0 < general_V.sum() < 1
        assert [(e.span, e.fraction, e.tokens) for e in record.effects] == [
            (span, fraction, count) for span in ("think", "answer") for fraction, count in ((0.1, 1), (0.3, 3))
        ]
        assert record.answer_logprob is not None and record.answer_logprob < 0


def refused(capsys, *words: str) -> str:
    capsys.readouterr()
    assert sbr(["analyze", "attention", *words]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_other_settings_answers_and_weights_are_refused(looked, tiny_model_dir, tmp_path, capsys) -> None:
    run = tmp_path / "eval"
    shutil.copytree(looked, run)
    before = content(run)
    told = refused(capsys, str(run), "--all", "--randoms", "3", "--layers", "0", "2")
    assert "attention.randoms: 2 then, 3 now" in told and "attention.layers: None then, [0, 2] now" in told
    assert "choose another evaluation (or delete this folder)" in told
    assert "the model has layers 0 to 2" in refused(capsys, str(copied(run, tmp_path)), "--layers", "3")
    assert "the model has heads 0 to 3" in refused(capsys, str(copied(run, tmp_path)), "--heads", "0", "9")
    file = run / "records.jsonl"
    text = file.read_text("utf-8")
    file.write_text(text.replace("so open tap", "so close tap", 1), "utf-8")
    assert "input file records.jsonl has changed" in refused(capsys, str(run), "--all", "--randoms", "2")
    file.write_text(text, "utf-8")
    assert content(run) == before
    (attention_folder(run) / MAPS / read_attention(run)[4].maps).unlink()
    told = refused(capsys, str(run), "--all", "--randoms", "2")
    assert "is missing, the maps of question" in told and "delete" in told


def copied(run: Path, tmp_path: Path) -> Path:
    """The evaluation without its attention."""
    folder = tmp_path / f"copy_{len(list(tmp_path.iterdir()))}"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("attention"))
    return folder


def test_other_questions_than_those_that_were_answered(finished, tmp_path, capsys) -> None:
    run = tmp_path / "eval"
    shutil.copytree(finished, run)
    text = (run / "records.jsonl").read_text("utf-8")
    (run / "records.jsonl").write_text(text.replace("What next, ", "What now, "), "utf-8")
    told = refused(capsys, str(run))
    assert "the prompt that the data and the model's chat template make now is another" in told
    assert not (attention_folder(run) / RECORDS).exists()


def changed(run: Path, tmp_path: Path, **values: object) -> Path:
    """A copy whose recipe has other sections."""
    folder = copied(run, tmp_path)
    recipe = read_resolved(EvalRecipe, folder / "recipe.json")
    write_resolved(recipe.model_copy(update=values), folder / "recipe.json")
    return folder


def test_evaluations_that_cannot_be_looked_into(finished, tmp_path, capsys) -> None:
    served = {"engine": EngineConfig(kind="endpoint", url="http://localhost:1/v1")}
    recipe = read_resolved(EvalRecipe, finished / "recipe.json")
    hub = changed(finished, tmp_path, **served, model=recipe.model.model_copy(update={"path": "Qwen/Qwen2-VL"}))
    assert "answered by a server, by its model 'Qwen/Qwen2-VL', which is no folder here" in refused(capsys, str(hub))
    shown = changed(finished, tmp_path, data=recipe.data.model_copy(update={"subtitles": True}))
    assert "single pictures between subtitles" in refused(capsys, str(shown))
    gone = changed(finished, tmp_path, model=recipe.model.model_copy(update={"path": "gone"}))
    assert "model folder gone does not exist" in refused(capsys, str(gone))
    for folder in (hub, shown, gone):
        assert not attention_folder(folder).exists()


def test_an_answer_of_a_server_is_looked_into_with_the_local_copy(finished, tmp_path) -> None:
    """Its prompt is in the words of the API."""
    run = changed(finished, tmp_path, engine=EngineConfig(kind="endpoint", url="http://localhost:1/v1"))
    rows = [json.loads(line) | {"prompt": "as sent"} for line in (run / "records.jsonl").read_text().splitlines()]
    rows = [row | {"completion_tokens": None} for row in rows]
    (run / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sbr(["analyze", "attention", str(run), "--per-level", "2", "--no-effects"]) == 0
    assert [(r.same_tokens, r.effects) for r in read_attention(run)] == [(False, ())] * 2


def test_a_blind_evaluation_has_nothing_to_look_at(tiny_model_dir, data_root, tmp_path, capsys) -> None:
    run = evaluated(tiny_model_dir, data_root, tmp_path / "blind", control="blind")
    assert sbr(["analyze", "attention", str(run), "--per-level", "2"]) == 0
    for record in read_attention(run):
        tokens_NV, general_V = read_maps(run, record)
        assert (record.visual_tokens, record.sinks, record.effects) == (0, (), ())
        assert tokens_NV.shape == (len(record.tokens), 0) and general_V.shape == (0,)
        assert record.answer_logprob is not None
    out = " ".join(capsys.readouterr().out.split())
    assert "nothing was shown" in out
    assert "How dense" not in out and "painting" not in out
