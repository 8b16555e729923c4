"""Light and dark, contrast, and paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import until

from sbr.report.page.data import PageData

COLOURS = """(names) => { const probe = document.createElement("i"); document.body.append(probe);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  return Object.fromEntries(names.map((name) => { probe.style.color = `var(--${name})`;
    canvas.fillStyle = getComputedStyle(probe).color; canvas.fillRect(0, 0, 1, 1);
    return [name, [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)]; })); }"""
RUNS = tuple(f"run-{number}" for number in range(8))
TEXT_ON = {  # WCAG 2.1: text 4.5 to 1, graphics 3 to 1
    "page": ("ink", "muted", "right", "wrong", "focus"),
    "soft": ("ink", "muted"),
    "think": ("ink",),
    "answer": ("ink",),
    "right-soft": ("ink", "right"),
    "wrong-soft": ("ink", "wrong"),
}


def luminance(colour: list[int]) -> float:
    red, green, blue = (
        c / 12.92 if (c := value / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for value in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[int], other: list[int]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(open_page: Callable[..., Any], scheme: str) -> None:
    names = sorted({*RUNS, "top", "random", *TEXT_ON, *(name for some in TEXT_ON.values() for name in some)})
    colours = open_page(color_scheme=scheme).evaluate(COLOURS, names)
    assert (luminance(colours["page"]) > 0.5) == (scheme == "light")
    poor = {(name, on) for on, some in TEXT_ON.items() for name in some if contrast(colours[name], colours[on]) < 4.5}
    poor |= {(name, "page") for name in (*RUNS, "top", "random") if contrast(colours[name], colours["page"]) < 3}
    assert not poor


def test_the_switch_turns_the_colours(open_page: Callable[..., Any]) -> None:
    window = open_page(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = window.evaluate(background)
    window.locator("#theme").click()
    dark = window.evaluate(background)
    assert dark != light
    until(window, "location.hash.includes('theme=dark')")
    window.locator("#theme").click()
    assert window.evaluate(background) == light


def test_print_shows_every_figure_and_the_case_without_controls(open_page: Callable[..., Any]) -> None:
    window = open_page("case=L1/103", color_scheme="dark")
    assert window.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"
    empty = "[...document.querySelectorAll('.chart')].filter((chart) => !chart.querySelector('svg')).length"
    assert window.evaluate(empty) == 0  # the lower ones were never scrolled to
    window.emulate_media(media="print")
    for gone in (".bar", ".filters", ".list", ".maptools", ".play"):
        assert window.locator(gone).first.is_hidden(), gone
    for kept in (".results", "#forest svg", ".casehead", ".pairs", ".options", ".answer .text"):
        assert window.locator(kept).first.is_visible(), kept
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert window.evaluate("[...document.querySelectorAll('.text')].every((t) => t.scrollHeight <= t.clientHeight + 1)")


def test_a_run_has_one_colour_everywhere_and_no_other_name_has_it(
    open_page: Callable[..., Any], made: PageData
) -> None:
    """Card, legends, filters, responses, flows; the marks of "most attended" and "at random" are of no run."""
    window = open_page()
    window.evaluate(
        "async () => { for (let y = 0; y < document.body.scrollHeight; y += 400) {"
        "scrollTo(0, y); await new Promise((done) => setTimeout(done, 20)); } }"
    )
    seen: list[list[str]] = window.evaluate(
        "[...document.querySelectorAll('.card h2, .results tbody:not(.paper) th, .legend > span, .runname, .answer h4,"
        " .chip')]"
        ".map((e) => [e.textContent, getComputedStyle(e.querySelector('.mark path')).fill])"
    )
    colours: dict[str, set[str]] = {}
    for name, colour in seen:
        colours.setdefault(name, set()).add(colour)
    assert colours.keys() == {*(run.name for run in made.runs), "most attended", "at random"}
    assert all(len(some) == 1 for some in colours.values())
    assert len(set.union(*colours.values())) == len(colours)
