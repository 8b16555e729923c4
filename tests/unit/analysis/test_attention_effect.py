"""Effects on a stand-in for a model whose answer hangs on one visual token, and its reasoning on another."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sbr.analysis import attention_effect
from sbr.analysis.attention_effect import Written, effects
from sbr.config.attention import AttentionConfig
from sbr.types import Prompt

V, MERGED, WIDTH = 20, 4, 6
DECIDES, TOLD = 7, 12
"""Visual tokens: the letter loses 5 nats without the first, each of two tokens of reasoning 1 without the second."""
WRITTEN = Written(ids=(1, 2, 3, 4), logprobs=(-0.1, -0.2, -0.3, -0.4), think=range(1, 3))
MODEL: Any = SimpleNamespace(
    model=SimpleNamespace(visual=SimpleNamespace(config=SimpleNamespace(spatial_merge_size=2)))
)


@pytest.fixture
def prompt() -> Prompt:
    """A video of 15 visual tokens and an image of 5, of random colours."""
    pixels = torch.rand(V * MERGED, WIDTH, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(V + 2, dtype=torch.long)
    return Prompt("", ids, ids, pixels[15 * MERGED :], torch.ones(1, 3), pixels[: 15 * MERGED], torch.ones(1, 3))


@pytest.fixture(autouse=True)
def passes(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prompts of each pass."""
    whole = [patch.clone() for patch in (prompt.pixel_values_videos, prompt.pixel_values) if patch is not None]
    sizes: list[int] = []

    def logprobs(model: Any, prompts: Sequence[Prompt], completions_PG: Any) -> Any:
        assert completions_PG == [[WRITTEN.ids]] * len(prompts)
        sizes.append(len(prompts))
        rows = []
        for one in prompts:
            now = torch.cat([one.pixel_values_videos, one.pixel_values])
            gone = (now != torch.cat(whole)).view(V, -1).any(1).float()
            rows.append([-0.1, -0.2 - gone[TOLD], -0.3 - gone[TOLD], -0.4 - 5 * gone[DECIDES]])
        return SimpleNamespace(logprobs_BL=torch.tensor(rows))

    monkeypatch.setattr(attention_effect, "completion_logprobs", logprobs)
    return sizes


def peaked(*order: int) -> np.ndarray:
    map_V = np.full(V, 0.01)
    for place, token in enumerate(order):
        map_V[token] = 0.5 - 0.1 * place
    return map_V


def test_the_token_that_decides_is_among_the_most_attended(prompt, passes) -> None:
    config = AttentionConfig(fractions=(0.05, 0.1, 1.0), randoms=3)
    maps = {"think": peaked(DECIDES, TOLD), "answer": peaked(3, DECIDES)}
    found = {(e.span, e.fraction): e for e in effects(MODEL, prompt, WRITTEN, maps, (), config, seed=1)}
    assert {key: e.tokens for key, e in found.items()} == {
        (span, fraction): count for span in maps for fraction, count in ((0.05, 1), (0.1, 2), (1.0, V))
    }
    top = {key: (e.top, e.reasoning_top) for key, e in found.items()}
    assert top["think", 0.05] == pytest.approx((-5.0, 0.0), abs=1e-5)
    assert top["think", 0.1] == pytest.approx((-5.0, -2.0), abs=1e-5)
    assert top["answer", 0.05] == pytest.approx((0.0, 0.0), abs=1e-5)
    assert top["answer", 0.1] == pytest.approx((-5.0, 0.0), abs=1e-5)
    assert top["think", 1.0] == found["think", 1.0].random[0:1] + found["think", 1.0].reasoning_random[0:1]
    for fraction in config.fractions:
        assert found["think", fraction].random == found["answer", fraction].random
        assert len(found["think", fraction].random) == len(found["think", fraction].reasoning_random) == 3


def test_a_choice_is_asked_once_and_passes_are_bounded(prompt, passes, monkeypatch) -> None:
    monkeypatch.setattr(attention_effect, "PASS_TOKENS", 2 * (len(prompt) + len(WRITTEN.ids)) + 1)
    maps = {"think": peaked(DECIDES, TOLD), "answer": peaked(TOLD, DECIDES)}
    effects(MODEL, prompt, WRITTEN, maps, (), AttentionConfig(fractions=(0.1,), randoms=4), seed=1)
    assert sum(passes) == 5  # both maps name the same two tokens
    assert passes == [2, 2, 1]


def test_random_choices_depend_on_the_seed_alone(prompt) -> None:
    config = AttentionConfig(fractions=(0.3,), randoms=16)

    def random(seed: int, **maps: np.ndarray) -> tuple[float, ...]:
        return effects(MODEL, prompt, WRITTEN, maps, (), config, seed)[0].random

    assert random(1, think=peaked(1)) == random(1, think=peaked(2), answer=peaked(4)) != random(2, think=peaked(1))
    shares = [sum(change < -1 for change in random(seed, think=peaked(1))) / 16 for seed in range(40)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.05)  # 640 draws, each with 6 of 20 tokens


def test_sinks_are_left_out_only_on_request(prompt) -> None:
    maps = {"think": peaked(DECIDES, 3)}
    for without, expected in ((False, -5.0), (True, 0.0)):
        config = AttentionConfig(fractions=(0.1, 1.0), randoms=4, without_sinks=without)
        one, whole = effects(MODEL, prompt, WRITTEN, maps, {DECIDES}, config, seed=0)
        assert one.top == pytest.approx(expected, abs=1e-5)
        assert whole.tokens == V - without
        assert whole.top == pytest.approx(expected, abs=1e-5) and whole.random == (whole.top,) * 4


def test_nothing_to_paint_over(prompt) -> None:
    config = AttentionConfig(without_sinks=True)
    assert effects(MODEL, prompt, WRITTEN, {}, (), config, 0) == ()
    assert effects(MODEL, prompt, WRITTEN, {"think": peaked()}, range(V), config, 0) == ()


def test_without_reasoning_there_is_no_effect_on_it(prompt) -> None:
    written = Written(WRITTEN.ids, WRITTEN.logprobs, range(0))
    (found,) = effects(MODEL, prompt, written, {"answer": peaked(DECIDES)}, (), AttentionConfig(fractions=(0.05,)), 0)
    assert found.top == pytest.approx(-5.0, abs=1e-5)
    assert found.reasoning_top is None and found.reasoning_random == ()
