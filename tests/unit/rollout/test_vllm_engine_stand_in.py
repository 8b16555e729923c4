"""What the vLLM engine hands to vLLM and what it refuses, with a stand-in for vLLM (the real one: tests/parity)."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sbr.config.asking import EngineConfig
from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import CheckpointError, ConfigError, DataError
from sbr.rollout.engine import Question
from sbr.rollout.open import open_engine
from sbr.rollout.sampling import Sampling
from sbr.rollout.vllm_engine import open_vllm

ENGINE = EngineConfig(kind="vllm", tensor_parallel=2, gpu_memory=0.5)
PROMPT = PromptConfig(max_tokens=600)


class StandIn(ModuleType):
    """Answers every prompt with `answer`; `reads` turns the asked inputs into prompt tokens."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.__spec__ = importlib.machinery.ModuleSpec("vllm", None)  # transformers asks whether vllm is there
        self.calls: list[Any] = []
        self.reads: Any = None
        self.answer: list[SimpleNamespace] = []
        self.SamplingParams = SimpleNamespace

    def LLM(self, **settings: Any) -> Any:  # noqa: N802
        self.settings = settings

        def generate(inputs: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
            self.calls += zip(inputs, params, strict=True)
            return [SimpleNamespace(prompt_token_ids=self.reads, outputs=self.answer) for _ in inputs]

        core = SimpleNamespace(shutdown=lambda: self.calls.append("shutdown"))
        return SimpleNamespace(generate=generate, llm_engine=SimpleNamespace(engine_core=core))


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    return stand_in


def reply(index: int, tokens: list[int], reason: str) -> SimpleNamespace:
    return SimpleNamespace(index=index, token_ids=tokens, finish_reason=reason)


def test_without_vllm(monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r'vLLM cannot be imported .*: pip install "seed-bench-r1\[vllm\]"'):
        open_engine(ModelConfig(path=str(tiny_model_dir)), PROMPT, ENGINE)


@pytest.mark.parametrize(("chosen", "used"), [(None, "spawn"), ("fork", "fork")])
def test_processes_of_vllm_are_not_forks_of_this_one_unless_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, vllm: StandIn, tiny_model_dir: Path, chosen: str | None, used: str
) -> None:
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", chosen or "")  # is put back afterwards
    if not chosen:
        monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD")
    open_vllm(ModelConfig(path=str(tiny_model_dir)), PROMPT, ENGINE, False)
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == used


def test_what_it_refuses_to_start_with(
    monkeypatch: pytest.MonkeyPatch, vllm: StandIn, tiny_model_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds an adapter; the vllm engine takes whole models"):
        open_vllm(ModelConfig(path=str(tmp_path)), PROMPT, ENGINE, False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"engine\.tensor_parallel"):
        open_vllm(ModelConfig(path=str(tiny_model_dir)), PROMPT, ENGINE, False)


def test_what_vllm_gets(vllm: StandIn, tiny_model_dir: Path, sbr_sample, sbr_frames) -> None:
    question = Question(sbr_sample("7"), sbr_frames(3, 4, 28, 56, total=100, fps=30.0), seed=11)
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, max_new_tokens=64)
    with open_vllm(ModelConfig(path=str(tiny_model_dir), dtype="float32"), PROMPT, ENGINE, False) as engine:
        tokenizer = engine._model.encoder.tokenizer
        prompt = engine._model.encoder.encode(question.sample, question.frames)
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        vllm.reads = prompt.input_ids_S.tolist()
        whole, cut = [*tokenizer.encode("wash the"), end], tokenizer.encode("tea")
        vllm.answer = [reply(1, whole, "stop"), reply(0, cut, "length")]
        [answered] = next(engine.answer([[question]], 2, sampling))
    settings, [(inputs, params), last] = vllm.settings, vllm.calls
    assert last == "shutdown"
    assert (settings["model"], settings["dtype"], settings["max_model_len"]) == (str(tiny_model_dir), "float32", 664)
    assert (settings["tensor_parallel_size"], settings["gpu_memory_utilization"]) == (2, 0.5)
    assert inputs["prompt"] == answered.prompt == prompt.text
    [(video, metadata)] = inputs["multi_modal_data"]["video"]
    np.testing.assert_array_equal(video, question.frames.video_THWC)
    assert metadata == {
        "total_num_frames": 100,
        "fps": 30.0,
        "frames_indices": [0, 33, 66, 99],
        "do_sample_frames": False,
    }
    [image] = inputs["multi_modal_data"]["image"]
    np.testing.assert_array_equal(np.array(image), question.frames.image_HWC)
    assert (params.n, params.temperature, params.top_p, params.top_k, params.max_tokens) == (2, 0.7, 0.9, 5, 64)
    assert params.seed == 11
    media = tokenizer.convert_tokens_to_ids(["<|video_pad|>", "<|image_pad|>", "<|im_start|>"])
    assert {params.logit_bias[token] for token in media} == {float("-inf")}
    assert end in params.stop_token_ids and end not in params.logit_bias
    replies = answered.replies
    assert (replies[0].text, replies[0].truncated) == ("tea", True)
    assert (replies[1].text, replies[1].truncated) == ("wash the", False)
    assert replies[1].tokens == len(whole)


def test_a_prompt_that_vllm_reads_differently(vllm: StandIn, tiny_model_dir: Path, sbr_sample, sbr_frames) -> None:
    question = Question(sbr_sample("7"), sbr_frames(), seed=0)
    with open_vllm(ModelConfig(path=str(tiny_model_dir)), PROMPT, ENGINE, False) as engine:
        right = engine._model.encoder.encode(question.sample, question.frames).input_ids_S.tolist()
        vllm.answer = [reply(0, [5], "stop")]
        for wrong in (right[:-1], [*right[:-1], right[-1] + 1]):
            vllm.reads = wrong
            with pytest.raises(DataError, match=f"sample 7: vLLM reads a prompt of {len(wrong)} tokens"):
                next(engine.answer([[question]], 1, Sampling()))


def test_a_start_that_fails(vllm: StandIn, tiny_model_dir: Path, sbr_sample, sbr_frames) -> None:
    def out_of_memory(**_: object) -> None:
        raise ValueError("No available memory for the cache blocks.\nmore")

    vllm.LLM = out_of_memory  # type: ignore[method-assign]
    with (
        open_vllm(ModelConfig(path=str(tiny_model_dir)), PROMPT, ENGINE, False) as engine,
        pytest.raises(CheckpointError, match=r"vLLM does not start: No available memory for the cache blocks\.\n"),
    ):
        next(engine.answer([[Question(sbr_sample(), sbr_frames(), 0)]], 1, Sampling()))


@pytest.mark.parametrize(("frames", "warns"), [(4, False), (10, True)])
def test_it_says_where_positions_differ(
    vllm: StandIn, tiny_model_dir: Path, sbr_sample, sbr_frames, caplog: pytest.LogCaptureFixture, frames, warns
) -> None:
    """Against transformers' own positions: the text after the video does not go on behind the last frame."""
    import torch

    from sbr.model.load import load_model

    config = ModelConfig(path=str(tiny_model_dir), dtype="float32")
    question = Question(sbr_sample(), sbr_frames(count=frames), 0)
    with open_vllm(config, PROMPT, ENGINE, False) as engine:
        prompt = engine._model.encoder.encode(question.sample, question.frames)
        vllm.reads, vllm.answer = prompt.input_ids_S.tolist(), [reply(0, [5], "stop")]
        next(engine.answer([[question, question]], 1, Sampling(max_new_tokens=8)))
    core: Any = load_model(config, torch.device("cpu")).model
    positions = core.get_rope_index(
        prompt.input_ids_S[None], prompt.mm_token_type_ids_S[None], prompt.image_grid_thw, prompt.video_grid_thw
    )[0][:, 0]
    video = (prompt.mm_token_type_ids_S == 2).nonzero().squeeze(1)
    following = int(positions[0, video[-1] + 1])
    assert (following != int(positions[:, video].max()) + 1) == warns
    assert len([record for record in caplog.records if "steps in time" in record.message]) == warns
