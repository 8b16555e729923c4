"""The client and the engine against a real HTTP server in this process."""

import hashlib
import logging
import re
import threading
import time
from dataclasses import replace

import pytest
from chat_server import ChatServer, Said, completion

from sbr.config.asking import EngineConfig
from sbr.errors import EndpointError, MediaError
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.endpoint_engine import EndpointEngine, request_seed
from sbr.rollout.engine import Question
from sbr.rollout.sampling import Sampling

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = Sampling(temperature=0.0, max_new_tokens=9)
LISTED = ("<answer>A</answer>", 5, False)
PICTURE = [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": {"url": "data:the cat"}}]


def client(server: ChatServer, **settings) -> ChatClient:
    return ChatClient(EngineConfig(kind="endpoint", url=server.url, **{"retries": 0} | settings), "m")


def engine(server: ChatServer, **settings) -> EndpointEngine:
    return EndpointEngine(EngineConfig(kind="endpoint", url=server.url, **{"retries": 0} | settings), "m")


@pytest.fixture
def questions(sbr_sample, sbr_frames):
    def make(count: int, **values) -> list[Question]:
        return [
            Question(sbr_sample(str(n), question=f"What now, {n}?"), sbr_frames(n, count=2), seed=100 + n, **values)
            for n in range(count)
        ]

    return make


def number_of(body: dict) -> str:
    """The number in the text of one of `questions`."""
    return re.search(r"What now, (\d+)\?", body["messages"][0]["content"][-1]["text"])[1]


def ask(one: EndpointEngine, batches, samples: int = 1, sampling: Sampling = GREEDY) -> dict[tuple[str, int], str]:
    """(sample_id, index) -> text; every reply once."""
    found: dict[tuple[str, int], str] = {}
    for answered in one.answer(batches, samples, sampling):
        for of_one in answered:
            for index, reply in of_one.replies.items():
                assert (of_one.question.sample.sample_id, index) not in found
                found[of_one.question.sample.sample_id, index] = reply.text
    return found


def test_the_window_spans_batches_and_every_reply_finds_its_question(questions):
    """Later requests are answered sooner; 10 questions in batches of 2, 3 answers each, at most 5 at once."""

    full = threading.Event()  # the first requests wait until five are there, however slow this machine is

    def respond(number: int, body: dict) -> Said:
        if number == 4:
            full.set()
        assert full.wait(60)
        return completion(f"{number_of(body)} {body['seed']}", delay=0.15 if number % 3 == 0 else 0.05)

    asked = questions(10)
    with ChatServer(respond) as server, engine(server, concurrency=5) as one:
        found = ask(one, [asked[at : at + 2] for at in range(0, 10, 2)], samples=3)
    assert found == {(str(n), i): f"{n} {request_seed(100 + n, i)}" for n in range(10) for i in range(3)}
    assert len(server.requests) == 30
    assert server.peak == 5


def test_questions_are_read_no_further_than_the_window_needs(questions):
    read = []

    def batches():
        for batch in ([question] for question in questions(20)):
            read.append(batch)
            yield batch

    with ChatServer(lambda *_: completion("A")) as server, engine(server, concurrency=2) as one:
        answers = one.answer(batches(), 1, GREEDY)
        for given in range(1, 6):
            next(answers)
            assert len(read) <= 2 * given + 2
        answers.close()


def test_known_answers_are_not_asked_for(questions):
    first, second, third = questions(3)
    batch = [first, replace(second, known=frozenset({0, 1})), replace(third, known=frozenset({1}))]
    with ChatServer(lambda *_: completion("A")) as server, engine(server) as one:
        assert set(ask(one, [batch], samples=2)) == {("0", 0), ("0", 1), ("2", 0)}
    assert len(server.requests) == 3


def test_seeds_of_requests_are_stable_distinct_and_short():
    assert (
        request_seed(8_131_762_942_554_432_247, 0)
        == int.from_bytes(hashlib.sha256(b"8131762942554432247\x000").digest()[:4], "big") // 2
    )
    seeds = {request_seed(seed, index) for seed in range(20) for index in range(20)}
    assert len(seeds) == 400
    assert max(seeds) < 2**31


def test_after_a_failure_nothing_new_is_asked_and_what_was_under_way_is_kept(questions):
    def respond(number: int, body: dict) -> Said:
        return Said({"error": "no"}, 400) if number_of(body) == "1" else completion("A", delay=0.5)

    found = []
    with (
        ChatServer(respond) as server,
        engine(server, concurrency=3) as one,
        pytest.raises(EndpointError, match="status 400"),
    ):
        for answered in one.answer([questions(12)], 1, GREEDY):
            found += [of_one.question.sample.sample_id for of_one in answered]
    assert sorted(found) == ["0", "2"]
    assert len(server.requests) == 3


def test_an_unreadable_video_stops_the_run_after_the_answers_under_way(questions):
    def batches():
        yield questions(2)
        raise MediaError("bad.mp4 is broken")

    found = []
    with (
        ChatServer(lambda *_: completion("A", delay=0.3)) as server,
        engine(server, concurrency=8) as one,
        pytest.raises(MediaError, match=r"bad\.mp4"),
    ):
        for answered in one.answer(batches(), 1, GREEDY):
            found += answered
    assert len(found) == 2


def test_leaving_drops_requests_under_way_at_once(questions):
    with ChatServer(lambda n, _: completion("A", delay=0 if n == 0 else 60)) as server:
        started = time.monotonic()
        with engine(server, concurrency=4) as one:
            next(one.answer([questions(6)], 1, GREEDY))
        assert time.monotonic() - started < 30


def test_seconds_add_up_to_the_run(questions):
    with ChatServer(lambda *_: completion("A", delay=0.2)) as server, engine(server, concurrency=4) as one:
        started = time.perf_counter()
        seconds = [o.seconds for answered in one.answer([questions(8)], 1, GREEDY) for o in answered]
        passed = time.perf_counter() - started
    assert sum(seconds) == pytest.approx(passed, abs=0.1, rel=0.1)
    assert sum(seconds) >= 0.4


def test_empty_answers_are_counted(questions, caplog):
    with (
        ChatServer(lambda n, _: completion(None if n % 2 else "A")) as server,
        engine(server, concurrency=1) as one,
        caplog.at_level(logging.WARNING),
    ):
        found = ask(one, [questions(5)])
    assert sorted(found.values()) == ["", "", "A", "A", "A"]
    assert "2 answers of m are empty" in caplog.text
