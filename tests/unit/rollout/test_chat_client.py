"""The client against a real HTTP server in this process: what is sent, retried, believed and refused."""

import logging
import re
import threading
import time

import pytest
from chat_server import ChatServer, Said, completion, compressed

from sbr.config.asking import EngineConfig
from sbr.config.load import load_recipe
from sbr.config.recipes import EvalRecipe
from sbr.errors import ConfigError, EndpointError
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.sampling import Sampling

HELLO = [{"role": "user", "content": "Hello"}]
GREEDY = Sampling(temperature=0.0, max_new_tokens=9)
LISTED = ("<answer>A</answer>", 5, False)
PICTURE = [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": {"url": "data:the cat"}}]


def client(server: ChatServer, **settings) -> ChatClient:
    return ChatClient(EngineConfig(kind="endpoint", url=server.url, **{"retries": 0} | settings), "m")


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


def test_an_answer_of_one_byte_a_moment_ends_at_the_timeout():
    """Every byte comes in time; the answer as a whole does not."""
    with (
        ChatServer(lambda *_: Said(completion("A").body, drip=0.1)) as server,
        client(server, timeout=0.5, retries=1) as chat,
    ):
        started = time.monotonic()
        with pytest.raises(EndpointError, match=r"within 0\.5 s, asked 2 times"):
            chat.complete(HELLO, GREEDY, 0)
        assert time.monotonic() - started < 15  # the answer would take 20 seconds
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [completion("A" * 3_000_000), compressed(completion("A" * 3_000_000))])
def test_an_answer_that_is_far_too_long_is_not_read(body):
    with (
        ChatServer(lambda *_: body) as server,
        client(server, retries=5) as chat,
        pytest.raises(EndpointError, match=rf"{server.url}/chat/completions sent more than the 1,085,440 bytes"),
    ):
        chat.complete(HELLO, GREEDY, 0)
    assert len(server.requests) == 1
    with ChatServer(lambda *_: body) as server, client(server) as chat:
        assert len(chat.complete(HELLO, Sampling(max_new_tokens=1000), 0).text) == 3_000_000


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"choices":' * 90_000, '{"choices":' + "[" * 90_000 + "]" * 90_000 + "}"]
)
def test_an_answer_nested_without_end_is_an_error(text):
    with (
        ChatServer(lambda *_: Said(text)) as server,
        client(server) as chat,
        pytest.raises(EndpointError, match="sent"),
    ):
        chat.complete(HELLO, GREEDY, 0)


@pytest.mark.parametrize("models", [Said("[" * 200_000), Said("A" * 3_000_000), Said({"data": [{"id": ["m"]}]})])
def test_a_list_of_models_that_is_nonsense_is_no_hindrance(models):
    with ChatServer(lambda *_: completion("A"), models=models) as server, client(server) as chat:
        assert chat.complete(HELLO, GREEDY, 0).text == "A"
