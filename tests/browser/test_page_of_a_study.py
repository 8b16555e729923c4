"""The chapter of a study in a browser: every seed is a dot, every arm an interval, all pictures on one scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import Windows
from study_runs import study
from test_page_opens import figures_drawn

from sbr.report.page.assembly import PageOptions, make_page
from sbr.report.page.data import PageData
from sbr.report.page.inputs import find_runs
from sbr.report.study_tables import write_study


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> PageData:
    folder = tmp_path_factory.mktemp("study")
    write_study(study(folder, {"base": -0.3, "SFT": 0.8, "GRPO": 1.1}, seeds=3, questions={"L1": 30, "L3": 30}), folder)
    return make_page(find_runs([folder]), PageOptions("a study", cases=3, frames=False)).data


def dots(window: Any, figure: int, radius: str) -> int:
    return window.locator(
        f"[data-section=study] .figures figure:nth-child({figure}) .chart circle[r='{radius}']"
    ).count()


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}])
def test_a_study(windows: Windows, page: PageData, options: dict[str, Any]) -> None:
    window = windows.show(page, **options)
    assert figures_drawn(window) == []
    assert window.locator("#problem").is_hidden()
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    section = window.locator("[data-section=study]")
    bars = page.sections[0].bars
    for number, figure in enumerate(bars, start=1):
        assert dots(window, number, "2") == sum(len(bar.points) for bar in figure.bars) == 12
    ticks = section.locator("figure").evaluate_all(
        "(all) => all.map((one) => [...one.querySelectorAll('.chart text')].map((text) => text.textContent)"
        ".filter((text) => /^\\d+$/.test(text)).join())"
    )
    assert len(set(ticks)) == 1 and ticks[0]
    caption = window.locator(".differences figcaption").inner_text()
    assert "over seeds and questions" in caption and "McNemar" not in window.locator(".differences").inner_text()
    window.locator(".differences summary").click()
    head = window.locator(".differences thead").inner_text()
    assert "95 %, seeds and questions" in head and "McNemar" not in head and "95 %, videos" not in head
    for word in ("undefined", "null", "NaN", "[object"):
        assert word not in window.locator("body").inner_text()


def test_a_mark_is_filled_only_with_its_corrected_p(windows: Windows, page: PageData) -> None:
    one = page.differences[0]
    assert one.low is not None and one.low > 0

    def filled(p_holm: float) -> str:
        window = windows.show(replace(page, differences=(replace(one, p_holm=p_holm),)), f"p_{p_holm}")
        assert figures_drawn(window) == []
        return window.locator("#forest svg path[stroke-width='2'], #forest svg g[stroke-width='2'] path").last.evaluate(
            "(mark) => getComputedStyle(mark).fill"
        )

    assert filled(0.01) != filled(0.2)
