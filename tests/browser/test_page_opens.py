"""The page opens from file://, draws everything, sends nothing, and degrades where parts are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Windows, until
from made_page import made_page

from sbr.report.page.data import PageData


def figures_drawn(window: Any) -> list[str]:
    """Go to each figure; the ids of those that stay empty."""
    return window.evaluate(
        "async () => { const empty = [];"
        "for (const chart of document.querySelectorAll('.chart')) {"
        "chart.scrollIntoView();"
        "for (let wait = 0; wait < 250 && !chart.querySelector('svg'); wait++)"
        " await new Promise((done) => setTimeout(done, 20));"
        "if (!chart.querySelector('svg')) empty.push(chart.id); }"
        "return empty; }"
    )


def test_opens_from_a_file(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page()
    assert window.title() == made.title
    assert window.locator("h1").inner_text() == made.title
    cells = window.locator(".results tbody:not(.paper) tr").first.inner_text()
    assert "base" in cells and "41.0" in cells and "[35.6, 46.6]" in cells
    assert window.locator(".results tbody.paper tr").count() == 1 + sum(row.paper for row in made.results)
    assert window.locator(".findings li").all_inner_texts() == list(made.findings)
    assert window.locator("#forest svg").count() == 1
    assert figures_drawn(window) == []
    assert window.locator(".flow").count() == sum(len(section.flows) for section in made.sections)
    assert window.locator(".list li").count() == len(made.cases)
    assert window.locator(".case").get_attribute("data-case") == made.cases[0].id
    assert window.locator("#problem").is_hidden()


def test_a_picture_shows_the_frames(open_page: Callable[..., Any]) -> None:
    """The tiles cut different parts out of the sprite: the cup moves."""
    window = open_page()
    until(window, "[...document.querySelectorAll('.pairs img')].every((image) => image.complete && image.naturalWidth)")
    lefts = window.evaluate(
        "[...document.querySelectorAll('.pairs .tile')].map((tile) => { const box = tile.getBoundingClientRect();"
        " return Math.round((box.left - tile.querySelector('img').getBoundingClientRect().left) / box.width); })"
    )
    assert lefts == list(range(9))
    shots = [window.locator(f".pairs [data-frame='{frame}'] .tile").screenshot() for frame in (0, 7)]
    assert shots[0] != shots[1]


@pytest.mark.parametrize("width", [320, 390, 900])
def test_narrow_windows_do_not_scroll_sideways(open_page: Callable[..., Any], width: int) -> None:
    window = open_page("case=L1/103&run=2&token=5", viewport={"width": width, "height": 844})
    figures_drawn(window)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    outside = window.evaluate(
        "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.scroll, .tile, .hidden, .mapword, .barlinks, svg')).map((e) => e.className || e.tagName)"
    )
    assert outside == []


VARIANTS: dict[str, Callable[[], PageData]] = {
    "no cases": lambda: made_page(0),
    "one run": lambda: replace(made_page(4, 1), differences=()),
    "eight runs": lambda: made_page(4, 8),
    "no attention": lambda: made_page(3, attention=False),
    "no sections": lambda: replace(made_page(3), sections=()),
    "no words": lambda: replace(made_page(3), findings=(), limits=(), results_note="", cases_note="", lead="", tags=()),
    "no paper, empty cells": lambda: replace(
        made_page(3),
        results=tuple(replace(row, cells=(None, *row.cells[1:])) for row in made_page(3).results if not row.paper),
    ),
    "no frames": lambda: replace(made_page(3), cases=tuple(replace(case, frames=None) for case in made_page(3).cases)),
    "an odd clip, no image": lambda: made_without_image(),
    "nothing": lambda: PageData("", "", "", (), (), (), (), "", (), (), (), (), (), "", ()),
}


def made_without_image() -> PageData:
    page = made_page(3, video=5)
    frames = replace(page.cases[0].frames, image=False, image_grid=None, seconds=(), video_grid=None)
    return replace(page, cases=(replace(page.cases[0], frames=frames, goal=None), *page.cases[1:]))


@pytest.mark.parametrize("name", VARIANTS)
def test_missing_parts(windows: Windows, name: str) -> None:
    page = VARIANTS[name]()
    window = windows.show(page)
    assert figures_drawn(window) == []
    assert window.locator("#problem").is_hidden()
    assert window.locator(".answer").count() == (len(page.runs) if page.cases else 0)
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for word in ("undefined", "null", "NaN", "[object"):
        assert word not in window.locator("body").inner_text()


def test_without_javascript_the_tables_can_be_read(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page(ready=False, java_script_enabled=False)
    assert "JavaScript is off" in window.locator("noscript").inner_text()
    assert "88.0" in window.locator(".results").inner_text()
    assert window.locator(".findings li").count() == len(made.findings)


def test_an_old_browser_is_told(windows: Windows, made_file: Path) -> None:
    window = windows.open(made_file, ready=False, watch=False)
    window.add_init_script("delete globalThis.DecompressionStream")
    window.reload()
    window.wait_for_selector("#problem:not([hidden])")
    assert "Safari 16.4" in window.locator("#problem").inner_text()


def test_the_policy_forbids_what_the_page_does_not_need(windows: Windows, made_file: Path) -> None:
    window = windows.open(made_file, watch=False)
    sent: list[str] = []
    window.on("request", lambda request: sent.append(request.url))
    window.on("requestfailed", lambda request: sent.remove(request.url) if request.failure == "csp" else None)
    refused = """async () => {
      const tried = {
        innerHTML: () => { document.createElement("p").innerHTML = "<b>x</b>"; },
        script: () => {
          const script = document.createElement("script");
          script.text = "globalThis.ran = 1";
          document.body.append(script);
        },
        evaluate: () => new Promise((done, fail) => setTimeout(() => {
          try { done(eval("globalThis.ran = 1")); } catch (problem) { fail(problem); }
        })),
        fetch: () => fetch("https://example.org/"),
        picture: () => new Promise((done, fail) => {
          Object.assign(new Image(), { onload: done, onerror: fail, src: "https://example.org/x.png" });
        }),
      };
      const failed = [];
      for (const [name, action] of Object.entries(tried)) await (async () => action())().catch(() => failed.push(name));
      return [failed, globalThis.ran ?? null];
    }"""
    assert window.evaluate(refused) == [["innerHTML", "script", "evaluate", "fetch", "picture"], None]
    assert sent == []
