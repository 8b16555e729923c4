"""`torchrun -m sbr eval`: two processes, real kills, another number of processes; rows as those of one process."""

from __future__ import annotations

import json
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from PIL import Image

from sbr.cli.eval import parse
from sbr.config.asking import EngineConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import write_resolved
from sbr.config.recipes import EvalRecipe, GrpoRecipe
from sbr.errors import ConfigError, DataError
from sbr.eval.records import read_records, record_line
from sbr.eval.runner import evaluate
from sbr.eval.summary import read_summary
from sbr.resume.processes import Processes

QUESTIONS = 24
WORDS = (
    *("--levels", "L1", "--protocol", "paper", "--samples", "2", "--shuffle-options", "--batch-size", "2"),
    *("--max-new-tokens", "8"),
)
OPTIONS = ("open tap", "close tap", "take cup", "put cup on table")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with an image and no video, so that answers come quickly."""
    root = tmp_path_factory.mktemp("data")
    (root / "annotations").mkdir()
    (root / "images" / "EpicKitchens").mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (56, 56, 3), dtype=np.uint8)
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


@pytest.fixture(scope="module")
def asked(tiny_model_dir: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalRecipe:
    """Two samples of every rotation of a trained model's answers: 192 in 48 batches."""
    run = tmp_path_factory.mktemp("run")
    (run / "final").symlink_to(tiny_model_dir)
    trained = GrpoRecipe(
        model=ModelConfig(path=str(tiny_model_dir), dtype="float32"),
        data=DataConfig(root=data_root),
        output_dir=run,
        frames=FramesConfig(height=56, width=56),
    )
    write_resolved(trained, run / "recipe.json")
    return parse(["--run", str(run), *WORDS])


def to(out: Path, recipe: EvalRecipe) -> EvalRecipe:
    return recipe.model_copy(update={"output_dir": out})


def rows(folder: Path) -> list[dict]:
    """Everything but the time, in the order of the file."""
    lines = (folder / "records.jsonl").read_text("utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def answers_on_disk(folder: Path) -> set[bytes]:
    """Whole lines of all processes; while files are put together a line can be in two of them."""
    found: set[bytes] = set()
    for file in sorted(folder.glob("records*.jsonl")):  # a part is read before records.jsonl, into which it is moved
        with suppress(FileNotFoundError):
            found.update(file.read_bytes().split(b"\n")[:-1])
    return found


def words(recipe: EvalRecipe) -> list[str]:
    run = str(Path(recipe.model.path).parent)
    return ["sbr", "eval", "--run", run, *WORDS, "--out", str(recipe.output_dir)]


@pytest.fixture(scope="module")
def finished(asked: EvalRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, uninterrupted."""
    out = tmp_path_factory.mktemp("finished")
    evaluate(to(out, asked))
    return out


def test_killed_processes_lose_no_answer_and_another_number_of_processes_finishes(asked, finished, tmp_path):
    out = tmp_path / "out"
    kept: set[bytes] = set()
    for victim in (0, 1):
        before = len(kept)
        kill_at = before + random.randrange(1, 40)
        with forked.torchrun("-m", *words(to(out, asked))) as run:
            while run.poll() is None and len(answers_on_disk(out)) < kill_at:
                time.sleep(0.005)
            run.workers[victim].kill()
        assert run.workers[victim].returncode == -signal.SIGKILL, run.output
        found = answers_on_disk(out)
        assert kept <= found, "an answer that was there is there still"
        assert before < len(found) < len(rows(finished))
        kept = found
    # A process that is killed while it writes leaves half a line.
    half = json.dumps({**rows(finished)[-1], "seconds": 0.1})[:100]
    with (out / "records-1.jsonl").open("a") as part:
        part.write(half)
    summary = evaluate(to(out, asked))
    assert rows(out) == rows(finished), f"{len(kept)} answers were kept"
    lines = {line + b"\n" for line in kept}
    assert lines <= set((out / "records.jsonl").read_bytes().splitlines(keepends=True)), "kept, not asked again"
    assert summary.levels == read_summary(finished / "summary.json").levels
    assert {file.name for file in out.iterdir()} == {"records.jsonl", "recipe.json", "inputs.json", "summary.json"}


def test_an_uninterrupted_run_of_two_processes_writes_the_rows_of_one(asked, finished, tmp_path):
    """The first process has answered half of the batches before, and the tables are printed once."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("recipe.json", "inputs.json"):
        (out / name).write_bytes((finished / name).read_bytes())
    lines = (finished / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[60:]), "utf-8")  # out of order: the first are missing
    with forked.torchrun("-m", *words(to(out, asked))) as run:
        assert run.wait() == 0, run.output
    assert rows(out) == rows(finished)
    assert run.output.count("In %, with 95 % intervals clustered by question") == 1
    summary = read_summary(out / "summary.json")
    assert summary.levels == read_summary(finished / "summary.json").levels
    assert not list(out.glob("records-*"))


def test_shares_differ_by_one_item_at_most():
    assert [Processes(rank, 3).share(range(7)) for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]
    assert [Processes(rank, 3).share([5]) for rank in range(3)] == [[5], [], []]


def test_processes_without_work(asked, finished):
    before = (finished / "records.jsonl").read_bytes()
    with forked.torchrun("-m", *words(to(finished, asked))) as run:
        assert run.wait() == 0, run.output
    assert "L1 Daily life" in run.output
    assert (finished / "records.jsonl").read_bytes() == before


class OneOfTwo(Processes):
    """One process whose partner works elsewhere: it hears that nothing is answered yet, and nobody is waited for."""

    def from_first(self, value: Any) -> Any:
        return set() if value is None else value

    def wait(self, meanwhile: Any = None) -> None:
        pass


class Idle(OneOfTwo):
    """The open questions are all the partner's."""

    def share(self, items: Any) -> Any:
        return []


def test_vllm_starts_its_own_processes(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    recipe = to(tmp_path / "out", asked).model_copy(update={"engine": EngineConfig(kind="vllm")})
    with pytest.raises(ConfigError, match="the vllm engine starts its processes itself"):
        evaluate(recipe, processes=OneOfTwo(0, 2))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_the_machines_do_not_share_is_named(asked, finished, tmp_path):
    with pytest.raises(ConfigError, match=r"process 1 does not see the recipe\.json .* all machines share"):
        evaluate(to(tmp_path / "mine", asked), processes=OneOfTwo(1, 2))
    assert not (tmp_path / "mine").exists()
    for name in ("recipe.json", "inputs.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    records = read_records(finished / "records.jsonl")  # the batches but the last, which is the partner's
    (tmp_path / "records.jsonl").write_text("".join(map(record_line, records[:-4])), "utf-8")
    with pytest.raises(DataError, match=r"4 of 192 answers .* are not in .* all machines share"):
        evaluate(to(tmp_path, asked), processes=Idle(0, 2))
    assert len(read_records(tmp_path / "records.jsonl")) == 188


def test_answers_of_an_interrupted_launch_are_collected_by_one_process(asked, finished, tmp_path):
    """Everything is answered, but in three files, one answer in two of them: nothing is asked again."""
    for name in ("recipe.json", "inputs.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    records = read_records(finished / "records.jsonl")
    for name, some in (("records", records[::3]), ("records-1", records[1::3]), ("records-2", records[2::3])):
        (tmp_path / f"{name}.jsonl").write_text("".join(map(record_line, some)), "utf-8")
    with (tmp_path / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write(record_line(records[1]))
    evaluate(to(tmp_path, asked))
    assert (tmp_path / "records.jsonl").read_bytes() == (finished / "records.jsonl").read_bytes()
