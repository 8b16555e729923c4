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
from sbr.config.load import load_recipe
from sbr.config.recipes import EvalRecipe
from sbr.errors import ConfigError, EndpointError, MediaError
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


def test_a_request_holds_what_was_asked_for():
    with ChatServer(lambda *_: completion("Hi", tokens=2)) as server, client(server) as chat:
        reply = chat.complete(HELLO, Sampling(temperature=0.5, top_p=0.9, max_new_tokens=7), seed=3)
        chat.complete(HELLO, Sampling(top_k=20), seed=None)
    assert (reply.text, reply.tokens, reply.truncated) == ("Hi", 2, False)
    first = {"model": "m", "messages": HELLO, "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3}
    assert server.requests[0] == first
    assert server.requests[1]["top_k"] == 20
    assert "seed" not in server.requests[1]


def test_extra_fields_are_sent_and_win():
    with (
        ChatServer(lambda *_: completion("Hi")) as server,
        client(server, extra={"top_k": -1, "chat_template_kwargs": {"enable_thinking": False}}) as chat,
    ):
        chat.complete(HELLO, Sampling(top_k=20), seed=0)
    assert server.requests[0]["top_k"] == -1
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("said", "text", "tokens", "truncated"),
    [
        (completion("A", finish="length"), "A", 5, True),
        (completion("A", tokens=None), "A", None, False),
        (completion(None), "", 5, False),
        (completion(""), "", 5, False),
        (completion(None, finish="length", reasoning_content="hm"), "<think>hm</think>", 5, True),
        (completion("<answer>A</answer>", reasoning_content="hm"), "<think>hm</think><answer>A</answer>", 5, False),
        (completion("<answer>A</answer>", reasoning="hm"), "<think>hm</think><answer>A</answer>", 5, False),
        (completion(None, refusal="I will not"), "I will not", 5, False),
        (completion([{"type": "text", "text": "<answer>"}, {"type": "text", "text": "A</answer>"}]), *LISTED),
        (completion(["<answer>A", "</answer>"]), *LISTED),
        (completion([]), "", 5, False),
        (completion(["A"], tokens=3.0), "A", 3, False),
        (completion("A", tokens=3.5), "A", None, False),
        (completion("A", tokens="many"), "A", None, False),
    ],
)
def test_what_a_server_says_becomes_a_reply(said, text, tokens, truncated):
    with ChatServer(lambda *_: said) as server, client(server) as chat:
        reply = chat.complete(HELLO, GREEDY, 0)
    assert (reply.text, reply.tokens, reply.truncated) == (text, tokens, truncated)
    assert isinstance(reply.tokens, int | None)  # what a record can hold


def test_429_waits_as_long_as_the_server_asks_for():
    busy = Said({"error": {"message": "slow down"}}, 429, {"retry-after": "0.7"})
    with ChatServer(lambda n, _: busy if n == 0 else completion("A")) as server, client(server, retries=1) as chat:
        assert chat.complete(HELLO, GREEDY, 0).text == "A"
    assert len(server.times) == 2
    assert 0.7 <= server.times[1] - server.times[0] < 3


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again_until_the_retries_end(status):
    bad = Said({"error": {"message": "the cat sleeps on the cable"}}, status, {"retry-after": "0.01"})
    with (
        ChatServer(lambda *_: bad) as server,
        client(server, retries=2) as chat,
        pytest.raises(EndpointError, match=rf"(?s)m\).*status {status}, asked 3 times.*the cat sleeps") as caught,
    ):
        chat.complete(HELLO, GREEDY, 0)
    assert len(server.requests) == 3
    assert server.url in str(caught.value)


def test_waits_grow_without_retry_after():
    with (
        ChatServer(lambda n, _: Said("", 500) if n < 2 else completion("A")) as server,
        client(server, retries=2) as chat,
    ):
        assert chat.complete(HELLO, GREEDY, 0).text == "A"
    first, second = (b - a for a, b in zip(server.times, server.times[1:], strict=False))
    assert 0.375 <= first < 0.75
    assert 0.75 <= second < 1.5


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "limit-mm-per-prompt"), (401, "SOME_KEY"), (403, "SOME_KEY"), (404, "/v1"), (422, "does not know")],
)
def test_what_is_wrong_for_good_is_not_tried_again(status, advice, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with (
        ChatServer(lambda *_: Said({"error": {"message": "no such thing"}}, status)) as server,
        client(server, retries=5, api_key_env="SOME_KEY") as chat,
        pytest.raises(EndpointError, match=rf"(?s)status {status}; it said: .*no such thing.*{advice}") as caught,
    ):
        chat.complete(HELLO, GREEDY, 0)
    assert len(server.requests) == 1
    assert "sk-secret" not in str(caught.value)
    assert server.headers[-1]["authorization"] == "Bearer sk-secret"


def test_a_slow_answer_is_asked_for_again_and_then_an_error():
    with ChatServer(lambda *_: completion("A", delay=60)) as server, client(server, timeout=0.3, retries=1) as chat:
        started = time.monotonic()
        with pytest.raises(EndpointError, match=r"within 0\.3 s, asked 2 times"):
            chat.complete(HELLO, GREEDY, 0)
        assert time.monotonic() - started < 30  # the answer would take a minute
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said('{"choices": [{"mess'), "cannot be read"),
        (Said("<html>Welcome</html>", content_type="text/html"), "<html>Welcome</html>"),
        (Said({"choices": []}), "something else"),
        (Said({"choices": [{}]}), "something else"),
        (Said({"error": "out of memory"}), "out of memory"),
        (Said([1]), "something else"),
        (Said("null"), "something else"),
        (Said({"choices": [{"message": "A"}]}), "something else"),
        (completion(PICTURE), "no text: .*the cat"),
        (completion(7), "no text: 7"),
        (completion("A", reasoning=[{"type": "summary"}]), "no text: .*summary"),
    ],
)
def test_what_is_no_completion_is_an_error_that_shows_it(said, message):
    with ChatServer(lambda *_: said) as server, client(server) as chat, pytest.raises(EndpointError, match=message):
        chat.complete(HELLO, GREEDY, 0)


def test_a_server_that_is_not_there_is_named_at_once():
    with ChatServer(lambda *_: completion("A")) as server:
        url = server.url
    started = time.monotonic()
    with pytest.raises(EndpointError, match=rf"{re.escape(url)} \(model m\) cannot be reached.*running"):
        ChatClient(EngineConfig(kind="endpoint", url=url), "m")
    assert time.monotonic() - started < 3
    with pytest.raises(ConfigError, match=r"engine\.url"):
        ChatClient(EngineConfig(), "m")


def test_a_refused_key_is_found_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    refused = Said({"error": "who are you?"}, 401)
    with (
        ChatServer(lambda *_: completion("A"), models=refused) as server,
        pytest.raises(EndpointError, match=r"(?s)401.*who are you.*OPENAI_API_KEY, which is not set"),
    ):
        client(server)
    assert server.requests == []


@pytest.mark.parametrize("models", [Said("", 404), Said("oops", 500), Said("[]"), Said({"data": None})])
def test_a_server_need_not_list_its_models(models):
    with ChatServer(lambda *_: completion("A"), models=models) as server, client(server) as chat:
        assert chat.complete(HELLO, GREEDY, 0).text == "A"


@pytest.mark.parametrize("key", ["sk-secret\n", " sk-secret\r\n"])
def test_a_key_read_from_a_file_with_its_line_feed(key, monkeypatch):
    monkeypatch.setenv("SOME_KEY", key)
    with ChatServer(lambda *_: completion("A")) as server, client(server, api_key_env="SOME_KEY") as chat:
        assert chat.complete(HELLO, GREEDY, 0).text == "A"
    assert server.headers[-1]["authorization"] == "Bearer sk-secret"


def test_an_address_with_a_password_is_refused_without_showing_it(tmp_path, capsys):
    file = tmp_path / "recipe.toml"
    url = "https://user:sk-secret@host/v1"
    basis = f'output_dir = "o"\nmodel.path = "m"\ndata.root = "{tmp_path}"\nengine.kind = "endpoint"\nengine.url = '
    file.write_text(f'{basis}"{url}"\n')
    with pytest.raises(ConfigError, match=r"engine\.url holds a user or password.*api_key_env") as caught:
        load_recipe(EvalRecipe, file)
    assert "sk-secret" not in str(caught.value)
    file.write_text(f'{basis}"https://host/v1"\n')
    with pytest.raises((ConfigError, SystemExit)) as refused:
        load_recipe(EvalRecipe, file, ["--engine.url", url])
    assert "sk-secret" not in str(refused.value) + "".join(capsys.readouterr())
    assert EngineConfig(kind="endpoint", url="https://host/v1/@me").url  # a path may have it


def test_a_model_that_is_not_listed_is_warned_of(caplog):
    with ChatServer(lambda *_: completion("A")) as server, caplog.at_level(logging.WARNING):
        ChatClient(EngineConfig(kind="endpoint", url=server.url), "other").close()
        assert "does not list the model other; it lists m" in caplog.text


def test_requests_of_all_threads_together_keep_the_limit():
    full = threading.Event()

    def respond(number: int, _: dict) -> Said:
        if number == 2:
            full.set()
        assert full.wait(60)
        return completion("A", delay=0.1)

    with ChatServer(respond) as server, client(server, concurrency=3) as chat:
        threads = [threading.Thread(target=chat.complete, args=(HELLO, GREEDY, n)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 12
    assert server.peak == 3


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
