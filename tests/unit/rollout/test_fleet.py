"""Several servers of one model: who is asked, what happens to those that fail, and what their requests become."""

import logging
import re
import resource
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest
from chat_server import ChatServer, Respond, Said, completion

from sbr.config.asking import EngineConfig
from sbr.errors import ConfigError, EndpointError
from sbr.rollout import fleet
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.endpoint_engine import EndpointEngine, request_seed
from sbr.rollout.engine import Question
from sbr.rollout.sampling import Sampling

GREEDY = Sampling(temperature=0.0, max_new_tokens=9)
HELLO = [{"role": "user", "content": "Hello"}]
BROKEN = Said({"error": "the cat sleeps on the cable"}, 500)


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are asked whether they are back soon enough for a test."""
    monkeypatch.setattr(fleet, "_AGAIN_SECONDS", 0.1)


@pytest.fixture
def questions(sbr_sample, sbr_frames):
    def make(count: int) -> list[Question]:
        return [
            Question(sbr_sample(str(n), question=f"What now, {n}?"), sbr_frames(n, count=2), seed=100 + n)
            for n in range(count)
        ]

    return make


def config(*servers: ChatServer | str, **settings: Any) -> EngineConfig:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    return EngineConfig(kind="endpoint", url=urls, **{"retries": 0, "concurrency": 2} | settings)


def echo(delay: float = 0.0) -> Respond:
    """The answer depends on what is asked, not on who is asked."""
    return lambda _, body: completion(said_to(body), delay=delay)


def said_to(body: dict) -> str:
    if is_hello(body):
        return "Hi"
    return f"{body['messages'][0]['content'][-1]['text']} {body['seed']}"


def is_hello(body: dict) -> bool:
    return body["messages"] == HELLO


def answers(asked: list[Question], *servers: ChatServer | str, samples: int = 2, **settings: Any) -> dict:
    """(sample_id, index) -> text; every reply once."""
    found: dict[tuple[str, int], str] = {}
    with EndpointEngine(config(*servers, **settings), "m") as engine:
        for answered in engine.answer([asked[at : at + 4] for at in range(0, len(asked), 4)], samples, GREEDY):
            for of_one in answered:
                for index, reply in of_one.replies.items():
                    assert (of_one.question.sample.sample_id, index) not in found
                    found[of_one.question.sample.sample_id, index] = reply.text
    return found


OF_ONE_SERVER: dict[tuple[str, int], str] = {}
"""What it has answered, for all tests."""


def of_one_server(asked: list[Question]) -> dict:
    keys = {(question.sample.sample_id, index) for question in asked for index in range(2)}
    if not keys <= OF_ONE_SERVER.keys():
        with ChatServer(echo()) as server:
            OF_ONE_SERVER.update(answers(asked, server.url))
    return {key: OF_ONE_SERVER[key] for key in keys}


def seeds(*servers: ChatServer) -> Counter[int]:
    return Counter(body["seed"] for server in servers for body in server.requests if not is_hello(body))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_requests_go_to_the_server_with_the_fewest_under_way(questions, caplog):
    asked = questions(12)
    full = threading.Barrier(6)  # every server has its two requests at the same time

    def respond(number: int, body: dict) -> Said:
        if number < 2:
            full.wait(60)
        return echo()(number, body)

    with ChatServer(respond) as a, ChatServer(respond) as b, ChatServer(respond) as c:
        found = answers(asked, a, b, c)
        servers = (a, b, c)
    assert found == of_one_server(asked)
    assert [server.peak for server in servers] == [2, 2, 2]
    assert set(seeds(*servers).values()) == {1}
    (line,) = [text for text in caplog.messages if text.startswith("answers of each server")]
    assert line.endswith(", ".join(f"{server.url} {len(server.requests)}" for server in servers))


def test_a_slow_server_gets_fewer(questions):
    with ChatServer(echo()) as fast, ChatServer(echo(0.2)) as slow:
        answers(questions(10), fast, slow)
        assert len(fast.requests) > len(slow.requests) > 0


@pytest.mark.parametrize("retries", [0, 1])
def test_answers_are_complete_when_a_server_is_killed(questions, caplog, retries):
    asked = questions(10)

    def respond(number: int, body: dict) -> Said:
        if number == 3:
            threading.Thread(target=dying.kill).start()
        return completion(said_to(body), delay=1000 if number >= 2 else 0)

    with ChatServer(respond) as dying, ChatServer(echo(0.02)) as other:
        found = answers(asked, dying, other, retries=retries)
    assert found == of_one_server(asked)
    twice = {seed for seed, count in seeds(dying, other).items() if count > 1}
    assert len(twice) == 2, "only what was under way at the dead server is asked again"
    (warning,) = warnings(caplog)
    assert re.match(rf"{dying.url} \(model m\) cannot be reached: .*; it is left out, and asked every 60 s", warning)
    assert "then repeat" not in warning


@pytest.mark.usefixtures("often")
def test_a_server_comes_back(questions, caplog):
    asked = questions(16)
    back = ExitStack()
    full = threading.Event()  # the server that is back has all its room
    replaced: list[ChatServer] = []

    def respond(number: int, body: dict) -> Said:
        if number == 3:
            threading.Thread(target=restart).start()
        return echo(0.01)(number, body)

    def restart() -> None:
        dying.kill()
        while not warnings(caplog):
            time.sleep(0.01)
        replaced.append(back.enter_context(ChatServer(returned, port=dying.port)))

    def returned(number: int, body: dict) -> Said:
        if replaced[0].peak == 2:
            full.set()
        return echo(0.05)(number, body)

    def remaining(number: int, body: dict) -> Said:
        if number > 3:
            assert full.wait(60)
        return echo()(number, body)

    with ChatServer(respond) as dying, ChatServer(remaining) as other, back:
        assert answers(asked, dying, other) == of_one_server(asked)
        (again,) = replaced
    assert sum(map(is_hello, again.requests)) == 1
    assert len(warnings(caplog)) == 1
    assert caplog.messages.count(f"{dying.url} answers again") == 1


def test_the_run_ends_when_no_server_is_left(questions):
    def respond(server: int) -> Respond:
        return lambda number, body: BROKEN if number >= 2 + server else echo()(number, body)

    with (
        ChatServer(respond(0)) as a,
        ChatServer(respond(1)) as b,
        pytest.raises(EndpointError, match="none of the 2 servers is left:") as caught,
    ):
        answers(questions(20), a, b)
    lines = str(caught.value).splitlines()
    assert [line.partition(" (model m) ")[0] for line in lines[1:3]] == [f"  {a.url}", f"  {b.url}"]
    assert all("status 500, asked once; it said: " in line and "the cat sleeps" in line for line in lines[1:3])
    assert lines[3:] == ["look at the server's log, then repeat the command, it continues"]


def test_a_server_that_hangs_loses_its_requests_to_the_others(questions, caplog):
    asked = questions(8)
    with ChatServer(lambda *_: completion("A", delay=1000)) as hangs, ChatServer(echo()) as other:
        assert answers(asked, hangs, other, timeout=1.5) == of_one_server(asked)
        assert len(hangs.requests) == 2
    (warning,) = warnings(caplog)
    assert f"{hangs.url} (model m) gave no answer within 1.5 s, asked once; it is left out" in warning


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("status", [404, 429])
def test_a_server_that_fails_at_every_question_is_named_once(questions, caplog, status):
    """It answers the short chat, so that it comes back on trial: one question at a time, and no retries."""
    asked = questions(10)
    often_enough = threading.Event()

    def remaining(number: int, body: dict) -> Said:
        if number > 3:
            assert often_enough.wait(60)
        return echo()(number, body)

    def respond(number: int, body: dict) -> Said:
        if sum(map(is_hello, bad.requests)) > 1:
            often_enough.set()
        return completion("Hi") if is_hello(body) else Said({"error": "no"}, status, {"retry-after": "0.01"})

    with ChatServer(respond) as bad, ChatServer(remaining) as good:
        assert answers(asked, bad, good, retries=1) == of_one_server(asked)
        hellos = sum(map(is_hello, bad.requests))
        # The first two with their retries, then one for each time it was back.
        assert len(bad.requests) - hellos <= 2 * 2 + hellos
    assert len(warnings(caplog)) == 1


def test_a_server_that_is_left_out_may_finish(questions):
    """What it still has under way when it is left out is not asked twice."""
    slow = threading.Event()

    def respond(number: int, body: dict) -> Said:
        if number == 0:  # under way from the beginning to the end
            assert slow.wait(60)
            return echo()(number, body)
        return echo(0.02)(number, body) if number < 3 else Said("", 500)

    def other(number: int, body: dict) -> Said:
        if number == 15:
            slow.set()
        return echo(0.01)(number, body)

    asked = questions(12)
    with ChatServer(respond) as failing, ChatServer(other) as good:
        assert answers(asked, failing, good) == of_one_server(asked)
        counts = seeds(failing, good)
        assert counts[failing.requests[0]["seed"]] == 1
        assert sorted(counts.values())[-2:] == [1, 2]


def test_what_is_wrong_with_the_request_ends_the_run(questions, caplog):
    def respond(number: int, body: dict) -> Said:
        return Said({"error": "too long"}, 400) if body["seed"] == request_seed(105, 0) else echo()(number, body)

    with ChatServer(respond) as a, ChatServer(respond) as b, pytest.raises(EndpointError, match=r"400.*too long"):
        answers(questions(12), a, b)
    assert seeds(a, b)[request_seed(105, 0)] == 1
    assert warnings(caplog) == []


def test_one_request_brings_down_no_more_than_five_servers(questions):
    def respond(number: int, body: dict) -> Said:
        return BROKEN if body["seed"] == request_seed(103, 0) else echo()(number, body)

    with ExitStack() as stack:
        servers = [stack.enter_context(ChatServer(respond)) for _ in range(7)]
        with pytest.raises(EndpointError, match="5 servers failed at one request:") as caught:
            answers(questions(40), *servers)
        assert seeds(*servers)[request_seed(103, 0)] == 5
    assert str(caught.value).count("the cat sleeps") == 5


def test_servers_that_are_not_there_at_the_start(questions, caplog):
    with ChatServer(echo()) as gone:
        pass
    with ChatServer(echo()) as refuses:
        refuses.models = Said({"error": "who are you?"}, 401)
        with pytest.raises(EndpointError, match=r"(?s)none of the 2 servers is left:.*OPENAI_API_KEY") as caught:
            ChatClient(config(gone, refuses), "m")
        assert gone.url in str(caught.value)
        assert "who are you?" in str(caught.value)
        caplog.clear()
        with ChatServer(echo()) as there:
            asked = questions(6)
            assert answers(asked, gone, refuses, there) == of_one_server(asked)
    assert sorted(text.split()[0] for text in warnings(caplog)) == sorted([gone.url, refuses.url])


def test_a_server_that_hangs_at_the_start_holds_up_nobody(questions, caplog, monkeypatch):
    monkeypatch.setattr(fleet, "_PATIENCE_SECONDS", 1.0)
    asked = questions(2)
    with ChatServer(echo(1000), models=Said({}, delay=1000)) as hangs, ChatServer(echo()) as there:
        assert answers(asked, hangs, there) == of_one_server(asked)
    assert [text.partition(";")[0] for text in warnings(caplog)] == [
        f"{hangs.url} has not listed its models within 1 s"
    ]


def test_a_server_with_another_model_is_named(caplog):
    other = Said({"object": "list", "data": [{"id": "other", "object": "model"}]})
    with ChatServer(echo()) as a, ChatServer(echo(), models=other) as b:
        ChatClient(config(a, b), "m").close()
    assert warnings(caplog) == [f"{b.url} does not list the model m; it lists other"]


def test_connections_are_asked_of_the_system(monkeypatch):
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    urls = [f"http://127.0.0.1:{port}/v1" for port in range(1, 41)]
    with pytest.raises(EndpointError, match="none of the 40 servers"):
        ChatClient(config(*urls, concurrency=64), "m")
    assert limits[1:] == [(40 * 64 + 256, 4096)]
    with pytest.raises(ConfigError, match=r"40 servers .*concurrency 128 need 5,376 open files.* allows 4,096"):
        ChatClient(config(*urls, concurrency=128), "m")
