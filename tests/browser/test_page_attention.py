"""Attention over the frames follows the token that is hovered, focused or chosen."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sbr.analysis.attention_spans import span_tokens
from sbr.report.page.data import PageAttention, PageCase, PageData

MAPS = """() => [...document.querySelectorAll(".pairs canvas.overlay")].map((c) => ({
  tokens: c.dataset.tokens, pixels: [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data] }))"""


@pytest.fixture(scope="module")
def case(made: PageData) -> PageCase:
    return next(case for case in made.cases if case.answers[0].attention)


def arrays(attention: PageAttention) -> tuple[np.ndarray, np.ndarray]:
    """Shares of attention (N, V), and the general map (V,)."""
    raw, general = (np.frombuffer(base64.b64decode(text), np.uint8) for text in (attention.raw, attention.general))
    return raw.reshape(len(attention.tokens), -1) * attention.scale / 255, general * attention.general_scale / 255


def brightness(window: Any) -> np.ndarray:
    """Of the drawn maps: pairs of frames one after the other, each once, then the observation (V,)."""
    maps = window.evaluate(MAPS)
    assert len(maps) == 9
    for first, second in zip(maps[:8:2], maps[1:8:2], strict=True):
        assert first == second  # a map belongs to a pair of frames
    pixels = [np.array(one["pixels"]).reshape(-1, 4) for one in (*maps[:8:2], maps[8])]
    return np.concatenate([(some[:, :3] * some[:, 3:]).sum(axis=1) for some in pixels])


def assert_drawn(window: Any, values: np.ndarray) -> None:
    """The brightness of the maps rises with `values`, down to the steps of the colours."""
    drawn = brightness(window)
    steps = np.round(255 * values / values.max())
    order = np.argsort(steps, kind="stable")
    assert (np.diff(drawn[order]) >= -400).all()  # a step of colour and of alpha
    assert drawn.argmax() in np.flatnonzero(steps == 255)
    assert np.corrcoef(drawn, values)[0, 1] > 0.9


def test_hover_changes_the_map(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    assert window.locator("canvas.overlay").count() == 0
    for run in (0, 2):
        raw, _ = arrays(case.answers[run].attention)
        for token in (3, 4):
            window.locator(f".answer[data-run='{run}'] [data-token='{token}']").hover()
            assert window.evaluate(MAPS)[0]["tokens"] == f"{token}-{token}"
            assert window.locator(".mapword").get_attribute("data-run") == str(run)
            assert_drawn(window, raw[token])
    window.mouse.move(5, 5)
    assert window.locator("canvas.overlay").count() == 0


def test_the_whole_case_stays_where_it_is_under_the_pointer(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    token = window.locator(".answer[data-run='2'] [data-token='4']")
    token.scroll_into_view_if_needed()
    before = token.bounding_box()
    token.hover()
    assert window.locator("canvas.overlay").count() > 0
    assert token.bounding_box() == before


def test_keyboard_moves_the_token(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    raw, _ = arrays(case.answers[1].attention)
    window.locator(".answer[data-run='1'] .text").focus()
    for token in range(3):
        window.keyboard.press("ArrowRight")
        assert_drawn(window, raw[token])
    window.keyboard.press("Shift+ArrowRight")
    window.keyboard.press("Shift+ArrowRight")
    assert_drawn(window, raw[2:5].mean(axis=0))
    assert window.locator(".tokens .on").count() == 3
    window.keyboard.press("End")
    assert_drawn(window, raw[-1])
    window.keyboard.press("Escape")
    assert window.locator("canvas.overlay").count() == 0
    window.keyboard.press("Home")
    window.locator("h1").click()
    window.keyboard.press("ArrowRight")  # from anywhere
    assert_drawn(window, raw[1])


def test_the_player_shows_where_a_chosen_token_looks_most(open_page: Callable[..., Any], case: PageCase) -> None:
    attention = case.answers[2].attention
    raw, _ = arrays(attention)
    raw[:, list(attention.sinks)] = 0
    for token in range(3):
        window = open_page(f"case={case.id}&run=2&token={token}&sinks=out")
        tile = min(2 * (raw[token].argmax() // 9), 8)
        expected = f"frame {tile + 1} of 8" if tile < 8 else "current observation"
        assert window.locator(".player .num").inner_text().startswith(expected)


def test_spans(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    answer = case.answers[3]
    raw, _ = arrays(answer.attention)
    for name, span in (("think", answer.think), ("answer", answer.answer)):
        inside = list(span_tokens(answer.attention.starts, answer.response, *span))
        window.locator(f".answer[data-run='3'] [data-span={name}]").hover()
        assert f"{name} span" in window.locator(".mapword").inner_text()
        assert_drawn(window, raw[inside].mean(axis=0))


def test_relative_and_sinks(open_page: Callable[..., Any], case: PageCase) -> None:
    attention = case.answers[0].attention
    raw, general = arrays(attention)
    window = open_page(f"case={case.id}&run=0&token=2")
    assert_drawn(window, raw[2])
    assert window.locator(".pairs .sink").count() == 3  # one in both frames of the first pair, one in the observation
    assert f"{100 * raw[2].max():.3g} % of the attention" in window.locator(".scale").inner_text()
    window.get_by_role("checkbox").check()
    without = raw[2].copy()
    without[list(attention.sinks)] = 0
    assert_drawn(window, without)
    assert window.locator(".sink").count() == 0
    window.get_by_role("button", name="relative").click()
    relative = without / np.maximum(general, 0.5 * attention.general_scale / 255)
    assert_drawn(window, relative)
    assert f"{relative.max():.3g} \N{MULTIPLICATION SIGN}" in window.locator(".scale").inner_text()


def shown(value: float | None) -> str:
    assert value is not None
    size = abs(value)
    text = (
        f"{value:+.2f}" if size >= 0.1 else f"{value:+.3f}" if size >= 0.001 else f"{value:+.1e}".replace("e-0", "e-")
    )
    return text.replace("-", "\N{MINUS SIGN}")


def test_effects_stand_beside(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    for run, answer in enumerate(case.answers):
        rows = window.locator(f".answer[data-run='{run}'] .effects tr").all_inner_texts()
        expected = []
        for title in ("of the answer letter", "of the whole reasoning"):
            expected.append(title.split())
            for e in answer.attention.effects:
                pair = (e.top, e.random) if "letter" in title else (e.reasoning_top, e.reasoning_random)
                expected.append([e.span, f"{100 * e.fraction:.0f}", "%", *map(shown, pair)])
        assert [row.split() for row in rows] == expected


def test_the_page_says_that_a_map_belongs_to_a_pair(open_page: Callable[..., Any], case: PageCase) -> None:
    window = open_page(f"case={case.id}")
    assert "A map belongs to a pair of frames" in window.locator(".mappanel").inner_text()
    assert window.locator(".pairname").all_inner_texts() == [f"pair {n}" for n in range(1, 5)] + ["current observation"]
