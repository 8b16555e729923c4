"""The teaching example against plain transformers and against the package's own algorithm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sbr.algo.advantages import group_advantages
from sbr.algo.grpo import grpo_loss
from sbr.algo.loss import LossInputs

FILE = Path(__file__).parents[2] / "examples" / "grpo_from_scratch.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grpo_from_scratch", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_prompt_computed_once_equals_plain_forward(example):
    torch.manual_seed(0)
    model = example.make_model()
    random = np.random.default_rng(0)
    questions = [example.make_question(random) for _ in range(3)]
    words = list(range(len(example.SPECIAL), len(example.WORDS)))  # no media tokens: a plain forward refuses them
    ids_BL = torch.from_numpy(random.choice(words, (12, example.ANSWER_TOKENS)))
    shared_BL = example.answer_logprobs(model, questions, ids_BL)
    shared_BL.sum().backward()
    shared_gradients = {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }
    model.zero_grad()

    total = torch.zeros(())
    for row, ids_L in enumerate(ids_BL):
        question = questions[row // 4]
        picture = example.IMAGES(images=[question.picture_HWC], return_tensors="pt")
        options = " ".join(f"{letter}.{option}" for letter, option in zip("ABCD", question.options, strict=True))
        prompt = example.encode(f"<vision> <image> <image> <image> <image> </vision> what colour ? {options}")
        row_ids = torch.tensor([*prompt, *ids_L.tolist()])[None]
        kinds = (row_ids == example.ID["<image>"]).int()
        logits = model(input_ids=row_ids, mm_token_type_ids=kinds, use_cache=False, **picture).logits[0]
        logprobs_L = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(-1, ids_L[:, None]).squeeze(-1)
        torch.testing.assert_close(shared_BL[row], logprobs_L, atol=1e-5, rtol=0)
        total = total + logprobs_L.sum()
    total.backward()
    assert len(shared_gradients) > 30
    for name, weight in model.named_parameters():
        if name in shared_gradients:
            error = (shared_gradients[name] - weight.grad).norm() / weight.grad.norm()
            assert error < 1e-4, name


def test_loss_and_advantages_are_those_of_the_package(example):
    generator = torch.Generator().manual_seed(0)
    rewards_PG = torch.randint(0, 2, (4, 5), generator=generator).float()
    torch.testing.assert_close(example.group_advantages(rewards_PG), group_advantages(rewards_PG, eps=1e-4))
    logprobs_BL, old_BL, reference_BL = (-torch.rand(20, 7, generator=generator) for _ in range(3))
    ids_BL = torch.randint(0, 3, (20, 7), generator=generator)
    mask_BL = example.until_end(ids_BL)
    assert 0 < mask_BL.float().mean() < 1
    advantages_B = group_advantages(rewards_PG, eps=1e-4).flatten()
    ours, _ = grpo_loss(
        LossInputs(logprobs_BL, old_BL, reference_BL, mask_BL, advantages_B), 0.2, 0.2, beta=example.BETA
    )
    found = example.grpo_loss(logprobs_BL, old_BL, reference_BL, mask_BL, advantages_B)
    assert found.item() == pytest.approx(ours.item(), abs=1e-6)


def test_only_form_and_letter_are_rewarded(example):
    question = example.Question(np.zeros((56, 56, 3), np.uint8), ("red", "green", "blue", "yellow"), "B", "green")
    rewards = {
        "<think> green B </think> <answer> B </answer> <end>": 1.0,
        "<think> red A </think> <answer> B </answer> <end>": 1.0,
        "<think> green B </think> <answer> A </answer> <end>": 0.0,
        "<think> green B </think> <answer> B </answer> ?": 0.0,
        "B B B B B B B B": 0.0,
    }
    assert {answer: example.reward(answer, question) for answer in rewards} == rewards
    masked = example.until_end(torch.tensor([[8, 1, 8, 1], [8, 8, 8, 8]]))
    assert masked.tolist() == [[True, True, False, False], [True] * 4]
