"""Figures of answers made by hand, and runs against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from attention_cases import EVEN_NV, TEXTS, THINK, attention

from sbr.analysis.attention_records import Effect, Shares
from sbr.analysis.attention_shares import Figure, attention_summary, densities, question_figures
from sbr.errors import DataError


def test_shares_are_means_over_layers_and_the_tokens_of_a_span() -> None:
    shares = [Shares(0.1 * n, 0.1, 0.9 - 0.1 * n, 0.0) for n in range(len(TEXTS))]
    record = attention(layers=(4, 7), shares=(tuple(shares), tuple(shares[::-1])))
    found = question_figures(record, EVEN_NV)
    think = [0.1 * n for n in THINK]
    other = [0.1 * (len(TEXTS) - 1 - n) for n in THINK]
    assert found[Figure("share", "think", "video", 4)] == pytest.approx(np.mean(think))
    assert found[Figure("share", "think", "video", 7)] == pytest.approx(np.mean(other))
    assert found[Figure("share", "think", "video")] == pytest.approx(np.mean([*think, *other]))
    assert found[Figure("share", "answer", "video", 4)] == pytest.approx(0.5)
    for span in ("all", "think", "answer"):
        parts = [found[Figure("share", span, medium)] for medium in ("video", "image", "text", "own")]
        assert sum(parts) == pytest.approx(1.0)


def test_density_of_known_maps() -> None:
    assert densities(np.full(8, 0.01)) == (pytest.approx(1.0), 4 / 8)
    assert densities(np.eye(8)[3] * 0.2) == (pytest.approx(0.0), 1 / 8)
    half = np.array([0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0, 0])
    assert densities(half) == (pytest.approx(2.5 * math.log(2) / math.log(8)), 2 / 8)
    assert all(map(math.isnan, densities(np.zeros(8))))
    assert all(map(math.isnan, densities(np.ones(1))))


def test_density_is_of_each_token_and_not_of_their_mean() -> None:
    """Two tokens that look at one place each, not the same one."""
    maps = np.zeros((len(TEXTS), 5))
    maps[THINK[0], 0] = maps[THINK[1], 4] = 0.3
    found = question_figures(attention(sinks=(4,)), maps)
    assert found[Figure("entropy", "think")] == pytest.approx(0.0)
    assert found[Figure("half", "think")] == 1 / 5
    assert found[Figure("sinks", "think")] == pytest.approx(0.5)
    assert Figure("entropy", "answer") not in found  # its tokens look at no picture


def test_effects_are_top_minus_the_mean_of_random_choices() -> None:
    effects = (
        Effect(
            "think", 0.3, 2, top=-1.0, random=(-0.5, -0.25, 0.0, 0.15), reasoning_top=-3.0, reasoning_random=(-1.0,) * 4
        ),
        Effect("answer", 0.3, 2, top=0.5, random=(0.25,) * 4),
    )
    found = question_figures(attention(effects=effects), EVEN_NV)
    assert found[Figure("effect", "think", fraction=0.3)] == pytest.approx(-0.85)
    assert found[Figure("random", "think", fraction=0.3)] == pytest.approx(-0.15)
    assert found[Figure("reasoning_effect", "think", fraction=0.3)] == pytest.approx(-2.0)
    assert found[Figure("effect", "answer", fraction=0.3)] == pytest.approx(0.25)
    assert Figure("reasoning_effect", "answer", fraction=0.3) not in found


def test_nothing_shown_and_nothing_written() -> None:
    blind = attention(video_grid=None, image_grid=None, video=(0.0, 0.0))
    found = question_figures(blind, np.zeros((len(TEXTS), 0)))
    assert found[Figure("share", "think", "video")] == 0.0
    assert Figure("entropy", "think") not in found
    silent = attention(response="", tokens=(), starts=(), shares=((), ()))
    assert question_figures(silent, np.zeros((0, 5))) == {}


def runs(count: int = 12) -> dict:
    base = [attention(str(q), video=(0.1 + 0.01 * q, 0.2)) for q in range(count)]
    other = [attention(str(q), video=(0.2 + 0.02 * q, 0.2), same_tokens=q > 1, sinks=(0,)) for q in range(count + 3)]
    return {"base": base, "GRPO": other[::-1]}


def test_runs_are_compared_on_the_questions_that_both_have() -> None:
    summary = attention_summary(runs(), lambda name, record: EVEN_NV, {("L1", "0"): "P01"}, resamples=200)
    assert (summary.questions, dict(summary.levels), summary.layers) == (12, {"L1": 12}, (0, 1))
    video = Figure("share", "all", "video", 0)
    base, other = (summary.figures[name, video] for name in ("base", "GRPO"))
    assert base.mean == pytest.approx(0.1 + 0.01 * 5.5)
    assert other.mean == pytest.approx(0.2 + 0.02 * 5.5)
    assert base.clusters == 12
    difference = summary.differences["base", "GRPO", Figure("share", "all", "video")]
    assert difference.mean == pytest.approx((other.mean - base.mean) / 2)  # layer 1 is the same
    assert difference.interval is not None and difference.interval.low > 0
    assert ("base", "GRPO", video) not in summary.differences
    assert summary.sinks == {"base": 0.0, "GRPO": 1 / 5}
    assert summary.retokenised == {"base": 0, "GRPO": 2}
    assert summary.unseen == {"base": 0, "GRPO": 0}


def test_questions_of_one_video_are_one_cluster() -> None:
    videos = {("L1", str(q)): f"P{q % 4}" for q in range(12)}
    summary = attention_summary(runs(), lambda name, record: EVEN_NV, videos, resamples=200)
    found = summary.figures["base", Figure("share", "all", "video")]
    assert (found.clusters, found.interval, found.questions) == (4, None, 12)


def test_runs_that_cannot_be_compared() -> None:
    maps = lambda name, record: EVEN_NV  # noqa: E731
    with pytest.raises(DataError, match="no question whose attention all of them have"):
        attention_summary({"a": [attention("1")], "b": [attention("2")]}, maps, {})
    with pytest.raises(DataError, match="no runs"):
        attention_summary({}, maps, {})
    with pytest.raises(DataError, match="different layers"):
        attention_summary({"a": [attention("1")], "b": [attention("1", layers=(0,), video=(0.1,))]}, maps, {})
    with pytest.raises(DataError, match="two answers to question 1"):
        attention_summary({"a": [attention("1"), attention("1", sample_index=1)]}, maps, {})
    with pytest.raises(DataError, match="an effect has the span 'middle'"):
        attention_summary({"a": [attention("1", effects=(Effect("middle", 0.1, 1, 0.0, (0.0,)),))]}, maps, {})
