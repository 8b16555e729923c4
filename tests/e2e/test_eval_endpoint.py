"""sbr eval --engine endpoint against a real HTTP server: fidelity, kill -9, Ctrl-C, failures, other settings."""

import base64
import io
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
from chat_server import ChatServer, Said, completion
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from sbr.cli import eval as cli_eval
from sbr.config.asking import EngineConfig, EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig, PromptConfig
from sbr.config.recipes import EvalRecipe
from sbr.data.sources.seed_bench_r1 import load_level
from sbr.errors import ConfigError, EndpointError
from sbr.eval.records import read_records
from sbr.eval.runner import evaluate
from sbr.frames.load import load_frames
from sbr.rollout.engine import Question
from sbr.rollout.open import open_engine
from sbr.rollout.sampling import Sampling
from sbr.types import EvalRecord

COUNT = 12
CHOICES = ("open tap", "close tap", "take cup", "put cup on table")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with an image only, but for the videos that `with_videos` adds."""
    root = tmp_path_factory.mktemp("data")
    for folder in ("annotations", "images/EpicKitchens", "videos/EpicKitchens"):
        (root / folder).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "images" / "EpicKitchens" / "0.png")
    lines = []
    for number in range(COUNT):
        values = {
            "sample_id": number,
            "video_source": "EpicKitchens",
            "video_id": f"V{number}",
            "current_observation_basename": "0.png",
            "current_observation_frame": 8,
            "task_goal": "make tea",
            "question": f"What now, {number}?",
            "answer": CHOICES[number % 4],
            "task_progress_metadata": [],
            "golden_choice_idx": "ABCD"[number % 4],
        }
        values |= {f"choice_{letter}": choice for letter, choice in zip("abcd", CHOICES, strict=True)}
        lines.append(json.dumps(values) + "\n")
    (root / "annotations" / "validation_L1.jsonl").write_text("".join(lines))
    return root


def recipe(root: Path, out: Path, url: str | tuple[str, ...], engine: dict | None = None, **values) -> EvalRecipe:
    return EvalRecipe(
        model=ModelConfig(path="m"),
        data=DataConfig(root=root),
        output_dir=out,
        frames=FramesConfig(height=56, width=56),
        engine=EngineConfig(kind="endpoint", url=url, **{"retries": 0, "concurrency": 3} | (engine or {})),
        eval=EvalConfig(**{"levels": ("L1",), "batch_size": 4} | values),
    )


def asked(server: ChatServer) -> Counter[tuple[str, int]]:
    """(text of the question, seed) -> how often it came in."""
    return Counter((body["messages"][0]["content"][-1]["text"], body["seed"]) for body in server.requests)


def letter_b(delay: float = 0.0) -> Callable[[int, dict], Said]:
    return lambda *_: completion("<think>so</think><answer>B</answer>", delay=delay)


def test_records_summary_and_inputs(data_root, tmp_path):
    with ChatServer(letter_b()) as server:
        settings = recipe(data_root, tmp_path, server.url, protocol="paper", samples=2, max_new_tokens=11)
        summary = evaluate(settings)
        evaluate(settings)
    assert len(server.requests) == 2 * COUNT
    assert {body["temperature"] for body in server.requests} == {1.0}
    assert {body["max_tokens"] for body in server.requests} == {11}
    assert len({body["seed"] for body in server.requests}) == 2 * COUNT
    records = read_records(tmp_path / "records.jsonl")
    assert {(r.sample_id, r.sample_index) for r in records} == {(str(n), i) for n in range(COUNT) for i in (0, 1)}
    for record in records:
        assert record.prompt.startswith(f"<image>What now, {record.sample_id}?\nA. open tap\n")
        assert (record.extracted, record.correct) == ("B", int(record.sample_id) % 4 == 1)
        assert (record.completion_tokens, record.truncated) == (5, False)
    assert summary.levels[0].overall.accuracy == 0.25
    inputs = json.loads((tmp_path / "inputs.json").read_text())
    assert list(inputs) == ["annotations/validation_L1.jsonl"]


def test_unknown_lengths_are_left_out_of_their_mean(data_root, tmp_path):
    with ChatServer(lambda n, _: completion("A", tokens=None if n else 8)) as server:
        summary = evaluate(recipe(data_root, tmp_path / "a", server.url))
    assert summary.levels[0].overall.mean_completion_tokens == 8
    with ChatServer(lambda *_: completion("A", tokens=None)) as server:
        assert evaluate(recipe(data_root, tmp_path / "b", server.url)).levels[0].overall.mean_completion_tokens is None


def test_answers_are_those_of_the_native_engine_shown_the_same_pictures(data_root, tiny_model_dir, tmp_path):
    """The server is plain transformers, and decodes the pictures itself."""
    processor = AutoProcessor.from_pretrained(tiny_model_dir)
    plain = AutoModelForImageTextToText.from_pretrained(tiny_model_dir, dtype="float32", attn_implementation="eager")
    banned = {*processor.tokenizer.all_special_ids, *range(408, 413)} - set(plain.generation_config.eos_token_id)
    lock = threading.Lock()

    def respond(_: int, body: dict) -> Said:
        content = []
        for part in body["messages"][0]["content"]:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                part = {"type": "image", "image": Image.open(io.BytesIO(data))}
            content.append(part)
        with lock:
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
            )
            tokens = plain.generate(
                **inputs, do_sample=False, max_new_tokens=body["max_tokens"], suppress_tokens=sorted(banned)
            )[0, inputs["input_ids"].shape[1] :]
        return completion(processor.decode(tokens, skip_special_tokens=True), tokens=len(tokens))

    with ChatServer(respond) as server:
        evaluate(recipe(data_root, tmp_path, server.url, max_new_tokens=8, limit=5))
    found = {record.sample_id: record for record in read_records(tmp_path / "records.jsonl")}

    samples = [replace(sample, subtitles=()) for sample in load_level(data_root, "L1", limit=5)]  # single pictures
    batch = [Question(sample, load_frames(sample, FramesConfig(height=56, width=56)), 0) for sample in samples]
    model = ModelConfig(path=str(tiny_model_dir), dtype="float32")
    with open_engine(model, PromptConfig(), EngineConfig()) as native:
        (answered,) = native.answer([batch], 1, Sampling(temperature=0.0, max_new_tokens=8))
    assert len({of_one.replies[0].text for of_one in answered}) > 1
    for of_one in answered:
        record, reply = found[of_one.question.sample.sample_id], of_one.replies[0]
        assert (record.response, record.completion_tokens) == (reply.text, reply.tokens)


def start(settings: EvalRecipe, folder: Path) -> forked.Forked:
    """`sbr eval` with a recipe file, in a process of its own."""
    file = folder / "recipe.toml"
    engine = settings.engine
    file.write_text(
        f"output_dir = '{settings.output_dir}'\n[model]\npath = 'm'\n[data]\nroot = '{settings.data.root}'\n"
        f"[frames]\nheight = 56\nwidth = 56\n[engine]\nkind = 'endpoint'\nurl = {json.dumps(engine.url)}\nretries = 0\n"
        f"concurrency = {engine.concurrency}\n[eval]\nlevels = ['L1']\nbatch_size = 4\n"
        f"protocol = '{settings.eval.protocol}'\nsamples = {settings.eval.samples}\n"
    )
    return forked.start("-m", "sbr", "eval", file)


def wait_for_lines(file: Path, lines: int, run: forked.Forked) -> None:
    for _ in range(24_000):
        if run.poll() is not None or (file.exists() and file.read_bytes().count(b"\n") >= lines):
            return
        time.sleep(0.01)


def test_a_killed_run_asks_for_no_finished_answer_again(data_root, tmp_path):
    records = tmp_path / "out" / "records.jsonl"
    with ChatServer(letter_b(delay=0.1)) as server:
        settings = recipe(data_root, tmp_path / "out", server.url, protocol="paper", samples=2)
        run = start(settings, tmp_path)
        wait_for_lines(records, 7, run)
        run.kill()
        assert run.wait() == -signal.SIGKILL, run.output
        kept = records.read_bytes().count(b"\n")
        assert 7 <= kept < 2 * COUNT
        evaluate(settings)
        counts = asked(server)
    assert len(read_records(records)) == len(counts) == 2 * COUNT
    # Only what was under way, at most `concurrency` requests, was asked twice.
    assert max(counts.values()) <= 2
    assert sum(counts.values()) - 2 * COUNT <= settings.engine.concurrency


def test_ctrl_c_ends_at_once_and_keeps_what_is_there(data_root, tmp_path):
    records = tmp_path / "out" / "records.jsonl"
    with ChatServer(lambda n, body: letter_b(delay=0.0 if n < 4 else 1000)(n, body)) as server:
        run = start(recipe(data_root, tmp_path / "out", server.url), tmp_path)
        wait_for_lines(records, 4, run)
        run.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert run.wait(100) == 130, run.output
        assert time.monotonic() - started < 60  # most of it for leaving a Python that holds torch
    assert len(read_records(records)) == 4
    assert "run the same command again" in run.output


def test_a_final_failure_keeps_the_answers_and_the_same_command_continues(data_root, tmp_path):
    broken = threading.Event()
    broken.set()

    def respond(number: int, body: dict) -> Said:
        return (
            Said({"error": "out of memory"}, 500) if broken.is_set() and number == 5 else letter_b(0.05)(number, body)
        )

    with ChatServer(respond) as server:
        settings = recipe(data_root, tmp_path, server.url)
        with pytest.raises(EndpointError, match="out of memory"):
            evaluate(settings)
        stopped = len(server.requests)
        kept = len(read_records(tmp_path / "records.jsonl"))
        assert kept == stopped - 1
        broken.clear()
        # Fewer requests at once, more patience: the answers do not depend on them.
        evaluate(recipe(data_root, tmp_path, server.url, {"concurrency": 1, "retries": 2, "timeout": 9}))
    assert len(server.requests) == stopped + COUNT - kept
    assert len(read_records(tmp_path / "records.jsonl")) == COUNT


def test_another_model_or_media_is_refused(data_root, tmp_path):
    with ChatServer(letter_b()) as server:
        settings = recipe(data_root, tmp_path, server.url)
        evaluate(settings)
        with pytest.raises(ConfigError, match=r"model\.path: 'm' then, 'n' now"):
            evaluate(settings.model_copy(update={"model": ModelConfig(path="n")}))
        with pytest.raises(ConfigError, match=r"engine\.media: 'frames' then, 'video_jpeg' now"):
            evaluate(recipe(data_root, tmp_path, server.url, {"media": "video_jpeg"}))


def test_flags_of_the_command_line(data_root, tmp_path, capsys):
    words = ["--model", "m", "--data", str(data_root), "--out", str(tmp_path / "o"), "--levels", "L1", "--limit", "3"]
    with ChatServer(letter_b()) as server:
        cli_eval.run([*words, "--engine", "endpoint", "--url", server.url, "--concurrency", "2"])
    assert "L1 Daily life" in capsys.readouterr().out
    saved = json.loads((tmp_path / "o" / "recipe.json").read_text())
    assert saved["engine"]["url"] == server.url
    assert saved["engine"]["concurrency"] == 2
    with pytest.raises(ConfigError, match="kind endpoint needs url"):
        cli_eval.run([*words, "--engine", "endpoint"])
    with pytest.raises(ConfigError, match="url is for kind endpoint, and kind is native"):
        cli_eval.run([*words, "--url", server.url])


def by_what_is_asked(delay: float = 0.0) -> Callable[[int, dict], Said]:
    """The answer depends on the request alone."""
    return lambda _, body: completion(f"<answer>{'ABCD'[body['seed'] % 4]}</answer>", delay=delay)


def untimed(folder: Path) -> list[EvalRecord]:
    return [replace(record, seconds=0.0) for record in read_records(folder / "records.jsonl")]


def test_a_server_that_dies_changes_no_record(data_root, tmp_path, caplog):
    def respond(number: int, body: dict) -> Said:
        if number == 4:
            threading.Thread(target=dying.kill).start()
        return by_what_is_asked(1000 if number > 2 else 0)(number, body)

    with ChatServer(respond) as dying, ChatServer(by_what_is_asked()) as other:
        evaluate(recipe(data_root, tmp_path / "two", (dying.url, other.url), protocol="paper", samples=2))
        evaluate(recipe(data_root, tmp_path / "one", other.url, protocol="paper", samples=2))
    assert untimed(tmp_path / "two") == untimed(tmp_path / "one")
    assert json.loads((tmp_path / "two" / "recipe.json").read_text())["engine"]["url"] == [dying.url, other.url]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{dying.url} (model m) cannot be reached: ")


def test_a_killed_run_of_two_servers_continues_with_what_is_left_of_them(data_root, tmp_path):
    records = tmp_path / "out" / "records.jsonl"
    with ChatServer(by_what_is_asked(0.1)) as a, ChatServer(by_what_is_asked(0.1)) as b:
        both = (a.url, b.url)
        settings = recipe(data_root, tmp_path / "out", both, {"concurrency": 2}, protocol="paper", samples=2)
        run = start(settings, tmp_path)
        wait_for_lines(records, 7, run)
        run.kill()
        assert run.wait() == -signal.SIGKILL, run.output
        assert records.read_bytes().count(b"\n") < 2 * COUNT
        with pytest.raises(ConfigError, match=rf"engine\.url: \['{a.url}', '{b.url}'\] then, '{b.url}' now"):
            evaluate(recipe(data_root, tmp_path / "out", b.url, protocol="paper", samples=2))
        a.kill()
        evaluate(settings)
        counts = asked(a) + asked(b)
        evaluate(recipe(data_root, tmp_path / "one", b.url, protocol="paper", samples=2))
    assert untimed(tmp_path / "out") == untimed(tmp_path / "one")
    assert len(counts) == 2 * COUNT
    assert sum(counts.values()) - 2 * COUNT <= 2 * settings.engine.concurrency


def test_all_servers_dead_keeps_the_answers_and_the_same_command_continues(data_root, tmp_path):
    with ChatServer(lambda n, body: letter_b()(n, body) if n < 2 else Said("", 500)) as a:
        with ChatServer(lambda n, body: letter_b()(n, body) if n < 3 else Said("", 503)) as b:
            settings = recipe(data_root, tmp_path, (a.url, b.url))
            with pytest.raises(EndpointError, match=rf"(?s)none of the 2 servers.*{a.url}.*500.*{b.url}.*503"):
                evaluate(settings)
            assert len(read_records(tmp_path / "records.jsonl")) == 5
            b.respond = letter_b()
            evaluate(settings)
        assert len(b.requests) + len(a.requests) >= COUNT
    assert len(read_records(tmp_path / "records.jsonl")) == COUNT


def test_several_addresses_on_the_command_line(data_root, tmp_path):
    words = ["--model", "m", "--data", str(data_root), "--out", str(tmp_path / "o"), "--levels", "L1", "--limit", "3"]
    with ChatServer(letter_b()) as a, ChatServer(letter_b()) as b:
        cli_eval.run([*words, "--engine", "endpoint", "--url", a.url, b.url])
        assert len(a.requests) + len(b.requests) == 3
