"""Filters with their counts, deep links, the back button and the keyboard of the case explorer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import until

from sbr.report.page.data import PageCase, PageData

Test = Callable[[PageCase], bool]
CHOICES: dict[str, dict[str, Test]] = {
    # Deep link -> filter -> does a case pass?  Written down again here, independently of the page.
    "": {},
    "level=L1": {"level": lambda case: case.level == "L1"},
    "level=L1&level=L3&wrong=0": {
        "level": lambda case: case.level in ("L1", "L3"),
        "wrong0": lambda case: not case.answers[0].correct,
    },
    "right=2&wrong=1&domain=Daily+life": {
        "right2": lambda case: case.answers[2].correct,
        "wrong1": lambda case: not case.answers[1].correct,
        "domain": lambda case: case.domain == "Daily life",
    },
    "tag=fixed&tag=contradicts&attended=1": {
        "tag1": lambda case: any("fixed" in answer.tags for answer in case.answers),
        "tag2": lambda case: any("contradicts" in answer.tags for answer in case.answers),
        "attended": lambda case: any(answer.attention for answer in case.answers),
    },
    "tag=fixed&by=3": {"tag1": lambda case: "fixed" in case.answers[3].tags},
    "flow=1111&q=SOUP": {
        "flow": lambda case: case.flow == "1111",
        "q": lambda case: "soup" in case.question,
    },
}


def expected_counts(page: PageData, choice: dict[str, Test], by: int | None) -> dict[str, int]:
    """ "level/L1" -> how many cases have it under all other filters."""

    def left(test: Test, *without: str) -> int:
        tests = [other for name, other in choice.items() if name not in without]
        return sum(all(other(case) for other in (*tests, test)) for case in page.cases)

    found = {f"level/{level}": left(lambda case, v=level: case.level == v, "level") for level in page.levels}
    for domain in {case.domain for case in page.cases}:
        found[f"domain/{domain}"] = left(lambda case, v=domain: case.domain == v, "domain")
    for flow in {case.flow for case in page.cases}:
        found[f"flow/{flow}"] = left(lambda case, v=flow: case.flow == v, "flow")
    for run in range(len(page.runs)):
        for kind, value in (("right", True), ("wrong", False)):
            own = (f"right{run}", f"wrong{run}")
            found[f"{kind}/{run}"] = left(lambda case, r=run, v=value: case.answers[r].correct is v, *own)
    for tag in page.tags:
        of = range(len(page.runs)) if by is None else [by]
        found[f"tag/{tag}"] = left(lambda case, t=tag, of=of: any(t in case.answers[run].tags for run in of))
    found["attended/1"] = left(lambda case: any(answer.attention for answer in case.answers), "attended")
    return found


@pytest.mark.parametrize("link", CHOICES)
def test_filters_and_their_counts(open_page: Callable[..., Any], made: PageData, link: str) -> None:
    window = open_page(link)
    choice = CHOICES[link]
    kept = [case.id for case in made.cases if all(test(case) for test in choice.values())]
    assert kept
    assert window.evaluate("[...document.querySelectorAll('.list a')].map((row) => row.dataset.case)") == kept
    assert window.locator("#shown").inner_text() == str(len(kept))
    counts = window.evaluate(
        "Object.fromEntries([...document.querySelectorAll('[data-filter]')].map((button) =>"
        " [`${button.dataset.filter}/${button.dataset.value}`, Number(button.querySelector('.count').textContent)]))"
    )
    assert counts == expected_counts(made, choice, 3 if "by=3" in link else None)


def test_clicking_filters_writes_them_into_the_address(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page()
    window.locator("[data-filter=level][data-value=L2]").click()
    window.locator("[data-filter=right][data-value='0']").click()
    window.locator("#search").fill("tea")
    until(window, "location.hash.includes('q=tea')")
    assert window.evaluate("location.hash") == "#level=L2&right=0&q=tea"
    kept = [case for case in made.cases if case.level == "L2" and case.answers[0].correct and "tea" in case.question]
    assert int(window.locator("#shown").inner_text()) == len(kept) > 0
    window.locator("#search").fill("")
    window.locator("[data-filter=wrong][data-value='0']").click()
    assert window.locator("[data-filter=right][data-value='0']").get_attribute("aria-pressed") == "false"
    window.locator("#reset").click()
    assert window.locator("#shown").inner_text() == str(len(made.cases))
    assert window.locator("#search").input_value() == ""


def test_no_case_left_can_be_undone(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page("q=zzzz")
    assert window.locator("#shown").inner_text() == "0"
    window.get_by_role("button", name="show all cases").click()
    assert window.locator("#shown").inner_text() == str(len(made.cases))
    window = open_page("case=L9/nowhere")
    assert "There is no case L9/nowhere" in window.locator(".empty").inner_text()


LOOK = """() => ({
  shown: [...document.querySelectorAll(".list a")].map((row) => row.dataset.case),
  pressed: [...document.querySelectorAll("[aria-pressed=true]")].map((b) => b.textContent),
  case: document.querySelector(".case").dataset.case,
  words: document.querySelector(".mapword").textContent,
  scale: document.querySelector(".scale").textContent,
  sinks: document.querySelector(".maptools input").checked,
  large: document.querySelector("dialog.large .num")?.textContent,
  theme: getComputedStyle(document.body).backgroundColor,
  search: document.getElementById("search").value,
  maps: [...document.querySelectorAll("canvas.overlay")].map((c) =>
    [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data].join()),
})"""


def test_a_deep_link_restores_everything(open_page: Callable[..., Any]) -> None:
    window = open_page(color_scheme="light")
    window.locator("#theme").click()
    window.locator("[data-filter=attended]").click()
    window.locator("[data-filter=wrong][data-value='0']").click()
    window.locator("#search").fill("the")
    window.locator(".list a").nth(2).click()
    window.wait_for_selector(".case[data-loaded=true]")
    window.locator(".answer[data-run='1'] [data-token='3']").click()
    window.keyboard.press("Shift+ArrowRight")
    window.get_by_role("button", name="relative").click()
    window.get_by_role("checkbox").check()
    window.locator(".pairs [data-frame='3']").click()
    window.mouse.move(0, 0)
    until(window, "location.hash.includes('frame=3')")
    seen = window.evaluate(LOOK)
    assert (
        seen["maps"]
        and seen["large"]
        and "tokens 4 to 5" in seen["words"]
        and "\N{MULTIPLICATION SIGN}" in seen["scale"]
    )
    link = window.evaluate("location.hash")[1:]
    again = open_page(link, color_scheme="light")
    assert again.evaluate(LOOK) == seen


def test_back_and_forward(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page()
    shown = window.locator(".case")
    first, second, third = (case.id for case in made.cases[:3])
    window.keyboard.press("j")
    window.keyboard.press("j")
    assert shown.get_attribute("data-case") == third
    window.go_back()
    assert shown.get_attribute("data-case") == second
    window.go_back()
    assert shown.get_attribute("data-case") == first
    window.go_forward()
    assert shown.get_attribute("data-case") == second
    window.locator("[data-filter=level][data-value=L3]").click()
    assert shown.get_attribute("data-case") == next(case.id for case in made.cases if case.level == "L3")
    window.go_back()
    assert shown.get_attribute("data-case") == second
    assert window.locator("#shown").inner_text() == str(len(made.cases))


def test_keys(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page("case=" + made.cases[1].id)
    shown = window.locator(".case")
    window.keyboard.press("k")
    window.keyboard.press("k")  # there is none before the first
    assert shown.get_attribute("data-case") == made.cases[0].id
    assert window.locator(".list a[aria-current]").get_attribute("data-case") == made.cases[0].id
    window.keyboard.press("/")
    assert window.evaluate("document.activeElement.id") == "search"
    window.keyboard.type("j/?")  # is text there
    assert window.locator("#search").input_value() == "j/?"
    window.locator("#search").fill("")
    window.keyboard.press("Escape")
    window.keyboard.press("?")
    assert window.locator("dialog.help").is_visible()
    window.keyboard.press("j")  # not below an open dialog
    window.keyboard.press("Escape")
    until(window, "!document.querySelector('dialog')")
    assert shown.get_attribute("data-case") == made.cases[0].id


def test_frames_by_keyboard_large_and_playing(open_page: Callable[..., Any]) -> None:
    window = open_page()
    window.keyboard.press("ArrowRight")  # nothing has the focus: the strip gets it
    window.keyboard.press("ArrowRight")
    assert window.evaluate("document.activeElement.dataset.frame") == "1"
    window.keyboard.press("Enter")
    large = window.locator("dialog.large")
    assert large.is_visible() and "frame 2 of 8" in large.inner_text() and "pair 1" in large.inner_text()
    window.keyboard.press("ArrowRight")
    assert "frame 3 of 8" in large.inner_text() and "pair 2" in large.inner_text()
    for _ in range(9):
        window.keyboard.press("ArrowRight")
    assert "current observation" in large.inner_text()
    window.keyboard.press("Escape")
    until(window, "!document.querySelector('dialog')")
    until(window, "!location.hash.includes('frame')")
    window.locator(".player .play").click()
    until(window, "document.querySelector('.player .num').textContent.includes('frame 4 of 8')")
    until(window, "document.querySelector('.player .num').textContent.includes('frame 2 of 8')")  # a loop
    window.locator(".player .play").click()


def test_a_flow_leads_to_its_cases(open_page: Callable[..., Any], made: PageData) -> None:
    window = open_page()
    window.locator(".flowlevels > div").first.locator("button", has_text="turn right").click()
    kept = [c.id for c in made.cases if c.level == "L1" and not c.answers[0].correct and c.answers[1].correct]
    assert window.evaluate("[...document.querySelectorAll('.list a')].map((row) => row.dataset.case)") == kept
    assert window.evaluate("document.getElementById('cases').getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize(
    "link",
    [
        "run=9&token=3",
        "case=L1/100&run=0&token=900-2&frame=99",
        "right=x&wrong=77&by=50",
        "%E0%A4%A&=&&token=",
        "span=no&at=no",
    ],
)
def test_links_that_fit_no_page_do_no_harm(open_page: Callable[..., Any], link: str) -> None:
    window = open_page(link)
    assert window.locator("#problem").is_hidden()
    assert window.locator("#shown").count() == 1
