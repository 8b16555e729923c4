"""Distillation from files to rows: the built-in engine, a real HTTP server, interruptions, other filters."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
import pytest

from sbr.cli.main import run
from sbr.config.asking import DistillConfig, EngineConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import read_resolved
from sbr.config.recipes import DistillRecipe
from sbr.data.rows.annotations import read_cot_rows
from sbr.data.sources.seed_bench_r1 import load_training_samples
from sbr.distill.report import Report
from sbr.distill.runner import distill
from sbr.distill.samples import LINES, TeacherSample
from sbr.errors import ConfigError, DataError
from sbr.mini.build import build
from sbr.prompt.template import question_text

QUESTIONS = 12
K = 4


class Quiet:
    """Remembers how it began."""

    def began(self, done: Sequence[TeacherSample], total: int) -> None:
        self.start, self.total = len(done), total

    def answered(self, new: Sequence[TeacherSample], others: int) -> None: ...
    def waits(self, others: int) -> None: ...


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "data"
    build(root, QUESTIONS, 1, 0, 1)
    return root


def recipe(root: Path, out: Path, limit: int | None = None, engine: EngineConfig | None = None, **settings):
    return DistillRecipe(
        model=ModelConfig(path="sbr:mini", dtype="float32"),
        data=DataConfig(root=root, limit=limit),
        output_dir=out,
        frames=FramesConfig(height=84, width=84),
        engine=engine or EngineConfig(),
        distill=DistillConfig(**{"samples": K, "max_new_tokens": 32, "batch_size": 5} | settings),
    )


def samples_of(folder: Path) -> list[TeacherSample]:
    file = folder / "samples.jsonl"
    return [replace(sample, seconds=1.0) for sample in LINES.parse(file.read_bytes(), file)]


def rows_of(folder: Path) -> bytes:
    return (folder / "training_with_cot.jsonl").read_bytes()


@pytest.fixture(scope="module")
def finished(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run; the base model of the package is its own teacher."""
    out = tmp_path_factory.mktemp("finished")
    distill(recipe(data_root, out))
    return out


def continued(finished: Path, out: Path, lines: int, torn: int = 0) -> Path:
    """A folder as a killed run leaves it: so many whole lines without verdicts, and a piece of the next."""
    out.mkdir()
    for name in ("recipe.json", "inputs.json"):
        (out / name).write_bytes((finished / name).read_bytes())
    whole = [LINES.line(replace(sample, extracted=None, verdict=None)) for sample in samples_of(finished)]
    text = "".join(whole[:lines]) + (whole[lines][:torn] if torn else "")
    (out / "samples.jsonl").write_text(text, "utf-8")
    return out


def test_right_answers_become_rows_and_the_others_are_counted(data_root: Path, finished: Path) -> None:
    questions = load_training_samples(data_root, "training_6k.jsonl", 0, None)
    samples = samples_of(finished)
    assert [(s.sample_id, s.sample_index) for s in samples] == [(q.sample_id, i) for q in questions for i in range(K)]
    rows = read_cot_rows(finished / "training_with_cot.jsonl")
    expected: list[tuple[str, str]] = []
    for question in questions:
        texts: set[str] = set()
        for sample in samples:
            whole = re.fullmatch(r"<think>.*</think>\s*<answer>\s*([A-D]).*</answer>", sample.response, re.DOTALL)
            if sample.sample_id == question.sample_id and whole and whole[1] == question.gold:
                if sample.response not in texts and not sample.truncated:
                    expected.append((question.sample_id, sample.response))
                texts.add(sample.response)
    assert expected, "the base model finds some right options"
    assert [(row.sample_id, row.response) for row in rows] == expected
    report = json.loads((finished / "report.json").read_text("utf-8"))
    assert report["kept"] == len(expected)
    assert report["answers"] == QUESTIONS * K
    assert report["verdicts"] == {name: Counter(s.verdict for s in samples).get(name, 0) for name in report["verdicts"]}
    without = {q.sample_id for q in questions} - {sample_id for sample_id, _ in expected}
    assert {hard["sample_id"] for hard in report["hardest"]} == without
    assert report["tokens"] == sum(s.completion_tokens or 0 for s in samples)


def test_rows_ask_what_was_asked(data_root: Path, finished: Path) -> None:
    asked = {sample.sample_id: sample for sample in samples_of(finished)}
    for row in read_cot_rows(finished / "training_with_cot.jsonl"):
        *media, text = row.prompt[0].content
        assert all((data_root / part.value).is_file() for part in media)
        sample = asked[row.sample_id or ""]
        assert text.value in sample.prompt
        assert [part.type for part in media] == re.findall(r"<\|(image|video)_pad\|>", sample.prompt)
        for letter, option in zip("ABCD", sample.options, strict=True):
            assert f"{letter}. {option}\n" in text.value


@pytest.mark.parametrize(("lines", "torn"), [(0, 30), (7, 0), (20, 100), (47, 1), (48, 0)])
def test_a_run_cut_anywhere_continues_to_the_same_files(data_root, finished, tmp_path, lines, torn) -> None:
    out = continued(finished, tmp_path / "out", lines, torn)
    watcher = Quiet()
    distill(recipe(data_root, out), watcher)
    assert (watcher.start, watcher.total) == (lines, QUESTIONS * K)
    assert samples_of(out) == samples_of(finished)
    assert rows_of(out) == rows_of(finished)


CHILD = """
import pathlib, sys
import torch
from sbr.config.load import read_resolved
from sbr.config.recipes import DistillRecipe
from sbr.distill.runner import distill
torch.set_num_threads(1)
distill(read_resolved(DistillRecipe, pathlib.Path(sys.argv[1])))
"""


def kill_after(asked: DistillRecipe, lines: int, folder: Path) -> int:
    """Run in a process of its own and kill -9 it once so many answers are on disk; how many there are then."""
    file, samples = folder / "asked.json", asked.output_dir / "samples.jsonl"
    file.write_text(asked.model_dump_json())
    with forked.start("-c", CHILD, file) as child:
        while child.poll() is None and not (samples.exists() and samples.read_bytes().count(b"\n") >= lines):
            time.sleep(0.002)
        child.kill()
    assert child.returncode == -signal.SIGKILL, child.output
    return samples.read_bytes().count(b"\n")


def test_a_killed_run_continues_to_the_same_files(data_root, finished, tmp_path) -> None:
    asked = recipe(data_root, tmp_path / "out")
    left = kill_after(asked, 1, tmp_path)
    distill(asked)
    assert samples_of(tmp_path / "out") == samples_of(finished), f"killed with {left} answers on disk"
    assert rows_of(tmp_path / "out") == rows_of(finished)


def test_processes_share_the_questions_and_one_that_is_killed_is_made_up_for(data_root, finished, tmp_path) -> None:
    """Two processes, one of them killed; another two finish, and write the files of one."""
    out = tmp_path / "out"
    file = tmp_path / "distill.toml"
    file.write_text(
        f"output_dir='{out}'\n[model]\npath='sbr:mini'\ndtype='float32'\n[data]\nroot='{data_root}'\n"
        f"[frames]\nheight=84\nwidth=84\n[distill]\nsamples={K}\nmax_new_tokens=32\nbatch_size=5\n"
    )
    words = ["-m", "sbr", "distill", file, "--distill.keep", "2"]
    with forked.torchrun(*words) as run:
        while run.poll() is None and not (out / "samples-1.jsonl").exists():
            time.sleep(0.005)
        run.workers[1].kill()
    assert run.workers[1].returncode == -signal.SIGKILL, run.output
    with forked.torchrun(*words) as run:
        assert run.wait() == 0, run.output
    assert run.output.count("answers kept") == 1, "one process speaks"
    assert {path.name for path in out.glob("samples*")} == {"samples.jsonl"}
    distill(recipe(data_root, out))
    assert samples_of(out) == samples_of(finished)
    assert rows_of(out) == rows_of(finished)


@pytest.fixture
def no_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be asked")

    monkeypatch.setattr("sbr.rollout.ask.open_engine", refuse)


def test_other_filters_select_again_without_asking(data_root, finished, tmp_path, no_asking) -> None:
    out = continued(finished, tmp_path / "out", QUESTIONS * K)
    before = distill(recipe(data_root, out))
    fewer = distill(recipe(data_root, out, keep=1))
    assert fewer.kept == fewer.questions_kept == before.questions_kept
    # What would have been a duplicate may be surplus now.
    left_out = fewer.verdicts["surplus"] + fewer.verdicts["duplicate"]
    assert left_out == before.kept - fewer.kept + before.verdicts["duplicate"]
    assert len(read_cot_rows(out / "training_with_cot.jsonl")) == fewer.kept
    assert read_resolved(DistillRecipe, out / "recipe.json").distill.keep == 1
    assert distill(recipe(data_root, out, min_words=1000)).kept == 0
    assert not (out / "training_with_cot.jsonl").exists()
    distill(recipe(data_root, out))
    assert rows_of(out) == rows_of(finished)
    assert samples_of(out) == samples_of(finished)


def test_reasonings_are_exchanged_without_asking(data_root, finished, tmp_path, no_asking) -> None:
    out = continued(finished, tmp_path / "out", QUESTIONS * K)
    report = distill(recipe(data_root, out, reasoning="another"))
    before = read_cot_rows(finished / "training_with_cot.jsonl")
    after = read_cot_rows(out / "training_with_cot.jsonl")
    assert [row.sample_id for row in after] == [row.sample_id for row in before]
    assert report.reasonings_exchanged == report.kept == len(after)
    lines = [json.loads(line) for line in (out / "training_with_cot.jsonl").read_text("utf-8").splitlines()]
    answers = {(s.sample_id, s.sample_index): s.response for s in samples_of(finished)}
    split = re.compile("<think>(.*)</think>(.*)", re.DOTALL)
    same = 0
    for row, own, line in zip(after, before, lines, strict=True):
        source = line["provenance"]["reasoning_of"]
        assert source["sample_id"] != row.sample_id
        (now, answer), (was, letter) = split.fullmatch(row.response).groups(), split.fullmatch(own.response).groups()
        assert answer == letter
        assert now.strip() == split.fullmatch(answers[tuple(source.values())])[1].strip()
        same += now.split() == was.split()
    assert report.reasonings_same == same < len(after)
    distill(recipe(data_root, out))
    assert rows_of(out) == rows_of(finished)
    assert samples_of(out) == samples_of(finished)
    with pytest.raises(ConfigError, match="1 questions to ask"):
        distill(recipe(data_root, out, limit=1, reasoning="another"))


def test_a_limit_can_grow_and_shrink(data_root, finished, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    distill(recipe(data_root, out, limit=5))  # a whole batch
    assert samples_of(out) == samples_of(finished)[: 5 * K]
    watcher = Quiet()
    distill(recipe(data_root, out), watcher)
    assert (watcher.start, watcher.total) == (5 * K, QUESTIONS * K)
    assert rows_of(out) == rows_of(finished)
    monkeypatch.setattr("sbr.rollout.ask.open_engine", None)
    assert distill(recipe(data_root, out, limit=2)).answers == 2 * K
    assert rows_of(finished).startswith(rows_of(out))
    assert [sample.verdict is None for sample in samples_of(out)] == [False] * 2 * K + [True] * (QUESTIONS - 2) * K
    distill(recipe(data_root, out))
    assert rows_of(out) == rows_of(finished)


def test_other_settings_and_other_questions_are_refused(data_root, finished, tmp_path, no_asking) -> None:
    out = continued(finished, tmp_path / "out", 9)
    before = (out / "samples.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"a distillation with other settings[\s\S]*distill\.top_p: 1\.0 then, 0\.5"):
        distill(recipe(data_root, out, top_p=0.5))
    with pytest.raises(ConfigError, match="all answers to a question would be the same"):
        distill(recipe(data_root, tmp_path / "new", temperature=0.0))
    assert (out / "samples.jsonl").read_bytes() == before
    strange = replace(samples_of(finished)[0], options=("a", "b", "c", "d"))
    (out / "samples.jsonl").write_text(LINES.line(strange), "utf-8")
    with pytest.raises(DataError, match="was asked with the options"):
        distill(recipe(data_root, out))


class Teacher(ThreadingHTTPServer):
    """Answers by the seed of the request, whatever is shown; every fifth request is first told to come again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: Counter[tuple[str, int]] = Counter()
        self.pictures: dict[str, int] = {}
        self.refused: set[tuple[str, int]] = set()
        self.lock = threading.Lock()


class _Answer(BaseHTTPRequestHandler):
    server: Teacher

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "big", "object": "model", "created": 0, "owned_by": "x"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = body["messages"][-1]["content"]
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        key = (text, body["seed"])
        with self.server.lock:
            refuse = body["seed"] % 5 == 0 and key not in self.server.refused
            if refuse:
                self.server.refused.add(key)
            else:
                self.server.asked[key] += 1
            self.server.pictures[text] = sum(part["type"] == "image_url" for part in parts)
        if refuse:
            self._send(429, {"error": {"message": "busy"}}, {"Retry-After": "0.01"})
            return
        time.sleep(0.004 * (body["seed"] % 3))  # so that answers overtake each other
        answer = f"<think>seed {body['seed']}</think><answer>{'ABCD'[body['seed'] % 4]}</answer>"
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
        usage = {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}
        base = {"id": "x", "object": "chat.completion", "created": 0, "model": "big"}
        self._send(200, base | {"choices": [message], "usage": usage})

    def _send(self, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with Teacher() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


CONCURRENCY = 6


def from_server(root: Path, out: Path, teacher: Teacher, **settings) -> DistillRecipe:
    url = f"http://127.0.0.1:{teacher.server_port}/v1"
    engine = EngineConfig(kind="endpoint", url=url, concurrency=CONCURRENCY)
    asked = recipe(root, out, engine=engine, **{"samples": 8} | settings)
    return asked.model_copy(update={"model": ModelConfig(path="big")})


def test_a_server_is_asked_every_answer_once(data_root, teacher, tmp_path) -> None:
    report: Report = distill(from_server(data_root, tmp_path / "out", teacher))
    questions = load_training_samples(data_root, "training_6k.jsonl", 0, None)
    assert len(teacher.asked) == QUESTIONS * 8
    assert set(teacher.asked.values()) == {1}
    assert teacher.refused, "some requests had to be repeated"
    samples = samples_of(tmp_path / "out")
    assert [(s.sample_id, s.sample_index) for s in samples] == [(q.sample_id, i) for q in questions for i in range(8)]
    for sample in samples:
        seed = int(re.findall(r"seed (\d+)", sample.response)[0])
        assert sample.extracted == "ABCD"[seed % 4]
        assert sample.verdict == ("kept" if sample.extracted == sample.gold else "wrong")
    assert report.kept == sum(s.extracted == s.gold for s in samples) > 0
    assert (report.engine, report.tokens) == ("endpoint", QUESTIONS * 8 * 7)
    for question in questions:  # a picture for each of 4 to 16 frames, and the current observation
        pictures = teacher.pictures[question_text(question)]
        assert pictures == 1 if question.video is None else pictures in range(5, 18)


def test_a_killed_run_asks_a_server_again_for_what_was_under_way_only(data_root, teacher, tmp_path) -> None:
    asked = from_server(data_root, tmp_path / "out", teacher)
    left = kill_after(asked, 40, tmp_path)
    distill(asked)
    assert len(teacher.asked) == QUESTIONS * 8
    again = teacher.asked.total() - QUESTIONS * 8
    assert again <= CONCURRENCY, f"killed with {left} answers on disk"
    uninterrupted = from_server(data_root, tmp_path / "whole", teacher)
    distill(uninterrupted)
    assert samples_of(tmp_path / "out") == samples_of(tmp_path / "whole")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_a_distillation_continues_with_other_servers(data_root, teacher, tmp_path) -> None:
    first = from_server(data_root, tmp_path / "out", teacher, samples=2)
    distill(first.model_copy(update={"data": DataConfig(root=data_root, limit=3)}))
    urls = ("http://127.0.0.1:9/v1", *first.engine.urls)
    distill(first.model_copy(update={"engine": EngineConfig(kind="endpoint", url=urls, concurrency=CONCURRENCY)}))
    assert len(teacher.asked) == teacher.asked.total() == QUESTIONS * 2


def test_command_line_prints_yield_reasons_and_the_hardest(data_root, finished, tmp_path, capsys) -> None:
    file = tmp_path / "distill.toml"
    file.write_text(
        f"output_dir='{tmp_path / 'out'}'\n[model]\npath='sbr:mini'\ndtype='float32'\n[data]\nroot='{data_root}'\n"
        f"[frames]\nheight=84\nwidth=84\n[distill]\nsamples={K}\nmax_new_tokens=32\nbatch_size=5\n"
    )
    assert run(["distill", str(file), "--limit", "5", "--distill.keep", "1"]) == 0
    printed = capsys.readouterr().out
    kept = len(read_cot_rows(tmp_path / "out" / "training_with_cot.jsonl"))
    assert f"{kept} of {5 * K} answers kept" in printed
    for text in ("wrong", "answers/s", "tokens/s", "training_with_cot.jsonl", f"Without a kept answer: {5 - kept}"):
        assert text in printed
    assert samples_of(tmp_path / "out")[0].response == samples_of(finished)[0].response
    assert run(["distill", str(file), "--limit=5", "--distill.keep", "1", "--distill.seed", "3"]) == 2
    assert "distill.seed: 0 then, 3 now" in capsys.readouterr().err
