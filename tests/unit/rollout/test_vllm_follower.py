"""The sampler of vLLM against a server that only speaks as vLLM does; with a real one: tests/vllm_cpu."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.config.load import validate
from sbr.config.recipes import GrpoRecipe
from sbr.errors import CheckpointError, ConfigError, EndpointError
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder
from sbr.rollout import vllm_server
from sbr.rollout.engine import Question
from sbr.rollout.sampling import Sampling
from sbr.rollout.vllm_sampler import open_vllm
from sbr.rollout.vllm_worker import Follower

DRAWN = [31, 32, 33]


class FakeVllm:
    """Answers every prompt with `DRAWN`; `logprobs` are those it claims, `drops` requests lose their connection."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self.prompt: list[int] = []
        self.logprobs = [-1.0] * len(DRAWN)
        self.drops = 0
        self.answer: Callable[[dict[str, Any]], Any] = self._chat
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                self._say({"data": [{"id": "policy"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                if fake.drops:
                    fake.drops -= 1
                    self.connection.close()
                    return
                fake.calls.append((self.path, body))
                if body.get("method") == "take_weights":
                    fake.weights.append(load_file(Path(body["args"][0]) / "model.safetensors"))
                self._say(fake.answer(body) if "messages" in body else {"results": ["1"]})

            def _say(self, what: Any) -> None:
                data = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        content = [{"logprob": value} for value in self.logprobs]
        one = {"token_ids": DRAWN, "logprobs": {"content": content}}
        return {"prompt_token_ids": self.prompt, "choices": [{**one, "index": i} for i in range(body["n"])]}


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    fake = FakeVllm()
    yield fake
    fake.close()


@pytest.fixture
def asked(tiny_model_dir, sbr_sample, sbr_frames, fake, tmp_path, monkeypatch) -> SimpleNamespace:
    monkeypatch.setattr(vllm_server, "PAUSES", (0.01, 0.01))
    model = load_model(ModelConfig(path=str(tiny_model_dir), dtype="float32"), torch.device("cpu"))
    processor = load_processor(str(tiny_model_dir))
    question = Question(sbr_sample("7"), sbr_frames(0, 4, 56, 56, total=40, fps=10.0), seed=2**40 + 5)
    prompt = PromptEncoder(processor, PromptConfig()).encode(question.sample, question.frames)
    fake.prompt = prompt.input_ids_S.tolist()
    with torch.no_grad():
        fake.logprobs = completion_logprobs(model, [prompt], [[DRAWN]]).logprobs_BL[0].tolist()
    values: dict[str, Any] = {
        "model": {"path": str(tiny_model_dir), "dtype": "float32"},
        "data": {"root": tmp_path},
        "output_dir": tmp_path / "run",
        "rollout": {"sampler": "vllm", "vllm": {"urls": [fake.url], "weights_folder": str(tmp_path / "shared")}},
    }

    def opened(temperature: float = 1.0, **vllm: Any) -> Any:
        values["rollout"] |= {"temperature": temperature}
        values["rollout"]["vllm"] |= vllm
        return open_vllm(model, processor, validate(GrpoRecipe, values, "test"))

    @contextmanager
    def whole() -> Iterator[Any]:
        yield model

    return SimpleNamespace(model=model, question=question, prompt=prompt, open=opened, whole=whole, folder=tmp_path)


def drawn(asked: SimpleNamespace, sampler: Any, prompts: int = 1, temperature: float = 1.0) -> Any:
    sampling = Sampling(temperature, max_new_tokens=9)
    with sampler.present(asked.whole):
        return sampler.sample([asked.question] * prompts, [asked.prompt] * prompts, 2, sampling)


def test_all_weights_are_handed_over_before_every_rollout(asked, fake) -> None:
    sampler = asked.open()
    (group,) = drawn(asked, sampler)
    assert [(one.token_ids, one.truncated) for one in group] == [(tuple(DRAWN), True)] * 2
    assert group[0].logprobs == pytest.approx(fake.logprobs)
    with torch.no_grad():
        asked.model.lm_head.weight.add_(1)
    drawn(asked, sampler)
    names = [name for name, _ in asked.model.named_parameters()]
    assert [sorted(weights) for weights in fake.weights] == [sorted(names)] * 2
    torch.testing.assert_close(fake.weights[1]["lm_head.weight"], asked.model.lm_head.weight.detach())
    assert not torch.equal(fake.weights[0]["lm_head.weight"], fake.weights[1]["lm_head.weight"])
    order = [body.get("method", path.removeprefix("/")) for path, body in fake.calls]
    hand_over = ["take_weights", "reset_prefix_cache", "reset_mm_cache", "reset_encoder_cache", "v1/chat/completions"]
    assert order == ["follow_transformers", "draw_at", *hand_over, *hand_over]
    assert not list((asked.folder / "shared").iterdir()), "nothing is left of what was handed over"


def test_a_request_names_its_weights_and_draws_as_the_recipe_says(asked, fake) -> None:
    sampler = asked.open()
    drawn(asked, sampler)
    drawn(asked, sampler)
    first, second = (body for path, body in fake.calls if path == "/v1/chat/completions")
    assert first["cache_salt"] != second["cache_salt"]
    for body in (first, second):
        names = [part["uuid"] for part in body["messages"][0]["content"] if part["type"] != "text"]
        assert len(set(names)) == 2 and all(name.startswith(f"{body['cache_salt']}-7-") for name in names)
        video = body["messages"][0]["content"][0]["video_url"]["url"]
        assert video.startswith("data:video/jpeg;base64,iVBOR") and video.count(",") == 4, "four PNGs"
    assert (first["n"], first["max_tokens"], first["temperature"], first["seed"]) == (2, 9, 1.0, 5)
    assert first["media_io_kwargs"]["video"]["frames_indices"] == list(asked.question.frames.indices)
    assert set(first["logit_bias"].values()) == {-100.0}
    assert not set(first["stop_token_ids"]) & {int(token) for token in first["logit_bias"]}


def test_the_worker_divides_by_the_temperature_and_training_compares_at_it(asked, fake) -> None:
    sampler = asked.open(temperature=0.5)
    assert ("/collective_rpc", {"method": "draw_at", "args": ["0.5"]}) in fake.calls
    with pytest.raises(ValueError, match=r"draw at temperature 0\.5, not 1\.0"):
        drawn(asked, sampler)
    with pytest.raises(CheckpointError, match="log-probabilities differ"):
        drawn(asked, sampler, temperature=0.5)  # those of temperature 1
    with torch.no_grad():
        fake.logprobs = completion_logprobs(asked.model, [asked.prompt], [[DRAWN]], 0.5).logprobs_BL[0].tolist()
    drawn(asked, asked.open(temperature=0.5), temperature=0.5)
    assert {body["temperature"] for _, body in fake.calls if "messages" in body} == {1.0}


def test_logits_are_divided_once_however_often_it_is_said() -> None:
    class Model(torch.nn.Module):
        def compute_logits(self, hidden: torch.Tensor) -> torch.Tensor | None:
            return hidden.to(torch.bfloat16) if len(hidden) else None

    model, hidden = Model(), torch.tensor([[3.0, -5.0]])
    follower = Follower()
    follower.model_runner = SimpleNamespace(get_model=lambda: model)
    for temperature in ("0.3", "0.7", "1.0"):
        assert follower.draw_at(temperature) == float(temperature)
        logits = model.compute_logits(hidden)
        assert logits is not None
        torch.testing.assert_close(logits.float(), hidden / float(temperature))
        assert logits.dtype == (torch.bfloat16 if temperature == "1.0" else torch.float32)
        assert model.compute_logits(hidden[:0]) is None


def test_a_lost_connection_is_tried_again_and_at_last_named(asked, fake, caplog) -> None:
    sampler = asked.open()
    fake.drops = 2
    drawn(asked, sampler)
    assert caplog.text.count("it is asked again in") == 2
    fake.drops = 3
    with pytest.raises(EndpointError, match=rf"vLLM at {fake.url}/collective_rpc does not answer \(.*; start it again"):
        drawn(asked, sampler)


def test_several_servers_share_the_prompts(asked, fake) -> None:
    other = FakeVllm()
    other.prompt, other.logprobs = fake.prompt, fake.logprobs
    try:
        drawn(asked, asked.open(urls=[fake.url, f"{other.url}/v1"]), prompts=5)
    finally:
        other.close()
    chats = [sum("messages" in body for _, body in server.calls) for server in (fake, other)]
    assert chats == [3, 2]
    assert len(fake.weights) == len(other.weights) == 1


def test_what_is_not_the_policy_is_refused(asked, fake) -> None:
    right = list(fake.logprobs)
    fake.logprobs = [right[0], right[1] - 0.5, right[2]]
    with pytest.raises(CheckpointError, match=r"differ .* by 0\.17 a token, .* most at token 1 of"):
        drawn(asked, asked.open())
    fake.logprobs = right
    fake.prompt = [*fake.prompt[:5], 1, *fake.prompt[6:]]
    with pytest.raises(EndpointError, match=r"sample 7: vLLM at .* they part at 5: is it the same checkpoint"):
        drawn(asked, asked.open())


def test_answers_that_are_none(asked, fake) -> None:
    sampler = asked.open()
    for answer in ({}, {"choices": []}, [], {"prompt_token_ids": fake.prompt, "choices": [{"index": 0}]}, None):
        fake.answer = lambda _, answer=answer: answer
        with pytest.raises(EndpointError, match="without tokens or their log-probabilities"):
            drawn(asked, sampler)
    fake.answer = lambda body: {**fake._chat(body), "choices": fake._chat(body)["choices"][:1]}
    with pytest.raises(EndpointError, match="gave 1 of 2 completions"):
        drawn(asked, sampler)


def test_a_folder_that_takes_nothing(asked) -> None:
    (asked.folder / "file").write_text("")
    with pytest.raises(OSError, match=r"weights cannot be handed over in .*rollout\.vllm\.weights_folder has to hold"):
        drawn(asked, asked.open(weights_folder=str(asked.folder / "file")))


def test_servers_without_the_sampler_that_asks_them(tmp_path) -> None:
    values = {"model": {"path": "m"}, "data": {"root": "d"}, "output_dir": "o"}
    with pytest.raises(ConfigError, match=r'rollout.*names servers for sampler "vllm", and sampler is "native"'):
        validate(GrpoRecipe, {**values, "rollout": {"vllm": {"urls": ["http://a:1"]}}}, "test")


def test_an_adapter_is_no_model_to_start_from(asked, tmp_path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    values = {"model": {"path": str(tmp_path)}, "data": {"root": "d"}, "output_dir": "o"}
    recipe = validate(GrpoRecipe, {**values, "rollout": {"sampler": "vllm"}}, "test")
    with pytest.raises(ConfigError, match=r"holds an adapter, and vLLM starts from whole models: .*sbr merge"):
        open_vllm(asked.model, None, recipe)


def test_what_cannot_be_opened(asked, fake) -> None:
    fake.close()
    with pytest.raises(EndpointError, match=rf"vLLM at {fake.url}/v1/models does not answer"):
        asked.open()
    for wrong, message in (
        (["nowhere"], "urls holds 'nowhere', expected an address"),
        ([fake.url, fake.url + "/"], "twice"),
        (["http://me:secret@host"], "urls holds a user or password"),
    ):
        with pytest.raises(ConfigError, match=message):
            asked.open(urls=wrong)
