"""Strings of data and models are text, whatever they hold."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from conftest import Windows
from made_page import made_page

from sbr.report.page.data import PageAttention, PageData

HOSTILE = {
    "script": "<script>hacked = 1</script><img src=x onerror='hacked = 1'>",
    "end of script": "</script></style></title><svg onload=alert(1)>",
    "comment": "<!-- <script> --> {{ 7 * 7 }} {% raw %} ${hacked} `",
    "quotes": '"onmouseover="hacked=1" \' &quot; &lt; \\u003c',
    "direction": "\u202egnorw si txet siht\u2066 \u200f עברית",
    "terminal": "\x1b[31mred\x1b[0m\x07\x9b2J",
    "NUL and halves": "a\x00b \ud83d c \udc00 \ufffe",
    "long": "w" * 10_000,
    "emoji": "👩‍🍳 \U0001f9d1 tea",
}
FIXED = {"flow", "gold", "letter", "sprite", "unit"}
"""Fields whose values are made by sbr alone."""


def hostile(value: Any, text: str, name: str = "") -> Any:
    """`value` with `text` behind every string that comes from data, models or paths."""
    if isinstance(value, PageAttention):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: hostile(getattr(value, f.name), text, f.name) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(hostile(item, text, name) for item in value)
    return value + text if isinstance(value, str) and name not in FIXED else value


def shown(text: str) -> str:
    """As the page shows it: control characters as their pictures."""
    return "".join(
        chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t"
        else "\N{REPLACEMENT CHARACTER}" if 0x80 <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000
        else c
        for c in text
    )  # fmt: skip


def elements(window: Any) -> dict[str, int]:
    """How many elements of each kind there are, without what charts and tokens are made of."""
    counts: dict[str, int] = window.evaluate(
        "() => { const counts = {}; for (const element of document.querySelectorAll('*:not(svg *, .text *)'))"
        " counts[element.tagName] = (counts[element.tagName] ?? 0) + 1; return counts; }"
    )
    return counts


@pytest.fixture(scope="module")
def plain_elements(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    windows = Windows(browser, tmp_path_factory.mktemp("plain"))
    return elements(windows.show(hostile(made_page(3), " plain"), viewport={"width": 390, "height": 844}))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_strings_stay_text(windows: Windows, plain_elements: dict[str, int], name: str) -> None:
    text = HOSTILE[name]
    page: PageData = hostile(made_page(3), text)
    window = windows.show(page, viewport={"width": 390, "height": 844})
    assert elements(window) == plain_elements
    assert window.evaluate("typeof hacked") == "undefined"
    case = page.cases[0]
    texts = {
        "h1": page.title,
        ".lead": page.lead,
        ".findings li": page.findings[0],
        ".card h2": page.runs[0].name,
        ".casehead h3": case.question,
        ".optiontext": case.options[0],
        ".answer h4": page.runs[0].name,
        ".filter[data-filter=tag] bdi": page.tags[0],
        ".tablebox h3": page.sections[2].tables[0].title,
    }
    for place, expected in texts.items():
        assert window.evaluate("(place) => document.querySelector(place).textContent", place) == shown(expected), place
    said = window.evaluate("document.querySelector('.answer .text').textContent").replace("<|im_end|>", "")
    said = said.replace("think", "", 1) if "thinkthe" in said else said
    assert shown(text) in said
    assert window.evaluate("document.documentElement.scrollWidth") <= 390
    window.locator(".filters summary").click()
    window.locator("[data-filter=tag]").first.click()
    assert window.locator("[data-filter=tag]").first.get_attribute("aria-pressed") == "true"


def test_right_to_left_text_does_not_turn_its_surroundings(windows: Windows) -> None:
    """The override in a name ends with the name: what follows keeps its place."""
    page = made_page(2)
    turned = replace(page, runs=tuple(replace(run, name=f"\u202e{run.name}") for run in page.runs))
    left = (
        "() => { const [a, b] = ['.answer h4', '.answer .verdict'].map((place) =>"
        " document.querySelector(place).getBoundingClientRect().left); return a < b; }"
    )
    for some in (page, turned):
        assert windows.show(some).evaluate(left)


def test_tokens_of_a_response_with_wide_characters(windows: Windows) -> None:
    """Positions count characters, as Python does, not UTF-16 units."""
    page = made_page(1, 1)
    case = page.cases[0]
    answer = case.answers[0]
    response = "👩‍🍳 <think> 🫖 tea</think>"
    tokens = ("👩‍🍳", " <think>", " 🫖", " tea", "</think>")
    starts = tuple(response.index(token) for token in tokens)
    size = len(tokens) * 45
    attention = replace(
        answer.attention, tokens=tokens, starts=starts, raw="AAAA" * (size // 3), shares=answer.attention.shares[:5]
    )
    think = (starts[2], starts[4])
    answer = replace(answer, response=response, attention=attention, think=think, answer=None)
    window = windows.show(replace(page, differences=(), cases=(replace(case, answers=(answer,)),)))
    assert window.locator("[data-token]").all_text_contents() == [token.strip() for token in tokens]
    assert window.locator(".in-think [data-token]").all_text_contents() == ["🫖", "tea"]


def test_long_responses_scroll_inside(windows: Windows) -> None:
    page = made_page(1, 2)
    answers = tuple(replace(answer, response="word " * 2000, attention=None) for answer in page.cases[0].answers)
    window = windows.show(replace(page, cases=(replace(page.cases[0], answers=answers),)))
    assert window.evaluate("document.querySelector('.text').clientHeight") < 500
